/** What the page says, in the reader's language, and how it writes times and days. */

import { setting } from "./settings.js";

const WORDS = {
  tagline: ["An open floor to talk on.", "누구나 올라앉아 이야기하는 마루."],
  pitch: ["A chat server that speaks plain HTTP: POST to speak, Server-Sent Events to listen.", "HTTP만으로 말하는 채팅 서버. 말할 때는 POST, 들을 때는 Server-Sent Events."],
  roomName: ["Room name", "방 이름"],
  roomHint: ["tea, 수다방, …", "수다방, tea, …"],
  enter: ["Enter", "들어가기"],
  lobby: ["or step into the lobby", "또는 로비로 가기"],
  terminal: ["From a terminal", "터미널에서"],
  listen: ["listen", "듣기"],
  speak: ["speak", "말하기"],
  byName: ["by name", "이름 대고"],
  badSlug: ["Letters, digits, - and _, up to 64 of them.", "글자, 숫자, -, _ 로 64자까지 쓸 수 있어요."],
  reservedSlug: ["That name is taken by maru itself. Try another.", "maru가 쓰는 이름이에요. 다른 이름을 골라 주세요."],
  copy: ["Copy", "복사"],
  copied: ["Copied", "복사됨"],
  home: ["maru, home", "maru 첫 화면"],
  messages: ["Messages", "메시지"],
  people: ["People here", "지금 있는 사람"],
  closePeople: ["Close", "닫기"],
  here: ["{n} here", "{n}명"],
  more: ["and {n} more", "외 {n}명"],
  you: ["you", "나"],
  rename: ["Change your name", "이름 바꾸기"],
  newName: ["Your name", "내 이름"],
  save: ["Save", "저장"],
  cancel: ["Cancel", "취소"],
  nameNote: ["What you have already said keeps the old name.", "이미 한 말에는 예전 이름이 남아요."],
  compose: ["Message", "메시지"],
  composeAs: ["Message as {name}", "{name} 이름으로 메시지 쓰기"],
  send: ["Send", "보내기"],
  keys: ["Enter sends, Shift + Enter starts a new line", "Enter로 보내고, Shift + Enter로 줄을 바꿔요"],
  editing: ["Editing your message", "메시지 고치는 중"],
  connecting: ["Connecting…", "연결하는 중…"],
  replaying: ["Catching up…", "따라잡는 중…"],
  live: ["Live", "연결됨"],
  waiting: ["Reconnecting…", "다시 연결하는 중…"],
  paused: ["Paused", "잠시 멈춤"],
  refused: ["You cannot enter this room.", "이 방에는 들어갈 수 없어요."],
  offline: ["Offline", "오프라인"],
  kept: ["No connection just now. What you write is kept and goes out when it is back.", "지금은 연결이 끊겼어요. 쓴 말은 보관했다가 연결되면 보낼게요."],
  emptyTitle: ["It is quiet in here.", "아직 조용하네요."],
  emptyText: ["Say the first word, or bring someone in: this address is the room.", "첫마디를 건네거나 누군가를 불러 보세요. 이 주소가 곧 방이에요."],
  beginning: ["This is where {room} begins.", "{room} 방은 여기서 시작돼요."],
  loading: ["Loading…", "불러오는 중…"],
  notLoaded: ["Could not load older messages.", "이전 메시지를 불러오지 못했어요."],
  again: ["Try again", "다시 시도"],
  gap: ["Some messages are missing here.", "여기에 빠진 메시지가 있어요."],
  gapLost: ["The missing messages are no longer kept.", "빠진 메시지는 더 이상 보관되어 있지 않아요."],
  load: ["Load", "불러오기"],
  dismiss: ["Dismiss", "닫기"],
  newest: ["Newest", "맨 아래로"],
  fresh: ["{n} new", "새 메시지 {n}개"],
  edit: ["Edit", "고치기"],
  delete: ["Delete", "지우기"],
  reallyDelete: ["Delete?", "지울까요?"],
  deleted: ["message deleted", "지운 메시지"],
  edited: ["edited", "고침"],
  unsent: ["waiting for the connection", "연결을 기다리는 중"],
  failed: ["Not sent: {why}", "보내지 못함: {why}"],
  oldUnsent: ["from an earlier visit", "지난번에 쓴 메시지"],
  retry: ["Send again", "다시 보내기"],
  discard: ["Discard", "버리기"],
  tooLong: ["too long by {n} bytes", "{n}바이트 넘쳤어요"],
  message: ["Message", "메시지 보내기"],
  directMessages: ["Direct messages", "다이렉트 메시지"],
  language: ["Language", "언어"],
  theme: ["Theme", "테마"],
  system: ["System", "시스템"],
  light: ["Light", "밝게"],
  dark: ["Dark", "어둡게"],
  today: ["Today", "오늘"],
  yesterday: ["Yesterday", "어제"],
};

/** As chosen by the switch, else as the browser says. */
export const language = (setting("lang") ?? globalThis.navigator?.language ?? "").startsWith("ko") ? "ko" : "en";

/** The words of a part of the page that not everybody loads. */
export function addWords(more) {
  Object.assign(WORDS, more);
}

/** A sentence, its `{places}` filled. */
export function words(key, places = {}) {
  return WORDS[key][language === "ko" ? 1 : 0].replace(/\{(\w+)\}/g, (_, place) => places[place]);
}

const clock = new Intl.DateTimeFormat(language, { hour: "numeric", minute: "2-digit" });
const calendar = new Intl.DateTimeFormat(language, { dateStyle: "full" });

export function timeOf(ts) {
  return clock.format(ts);
}

export function dayOf(ts, now = Date.now()) {
  const days = Math.round((midnight(now) - midnight(ts)) / 86_400_000);
  if (days === 0) return words("today");
  return days === 1 ? words("yesterday") : calendar.format(ts);
}

function midnight(ts) {
  return new Date(ts).setHours(0, 0, 0, 0);
}
