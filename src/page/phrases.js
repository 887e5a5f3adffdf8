/** What the pages of direct messages say beside the words of all. */

import { addWords, dayOf, language, timeOf, words } from "./words.js";

addWords({
  conversations: ["Chats", "대화"],
  find: ["Find people", "사람 찾기"],
  found: ["{n} found", "{n}명 찾음"],
  foundNobody: ["Nobody is found by that name.", "그런 이름으로는 아무도 찾지 못했어요."],
  foundNobodyWhy: ["People can be found once they have chosen a name.", "이름을 정한 사람만 찾을 수 있어요."],
  notFound: ["The search did not work. Try again.", "찾지 못했어요. 다시 시도해 주세요."],
  newGroup: ["New group", "새 그룹"],
  groupName: ["Name of the group", "그룹 이름"],
  optional: ["optional", "선택"],
  pickTwo: ["Pick two people or more.", "두 명 이상 골라 주세요."],
  make: ["Create", "만들기"],
  add: ["Add people", "사람 추가"],
  remove: ["Remove {name}", "{name} 빼기"],
  members: ["Members", "멤버"],
  membersOf: ["{n} members", "멤버 {n}명"],
  owner: ["owner", "방장"],
  leave: ["Leave the group", "그룹 나가기"],
  reallyLeave: ["Leave? You will not see what is said here any more.", "나갈까요? 이후의 대화는 볼 수 없어요."],
  leaveNow: ["Leave", "나가기"],
  stay: ["Stay", "머물기"],
  done: ["Done", "완료"],
  back: ["Back to the conversations", "대화 목록으로"],
  settings: ["You and settings", "나와 설정"],
  online: ["online", "접속 중"],
  offlineNow: ["offline", "접속 안 함"],
  onlineOf: ["{n} members, {online} online", "멤버 {n}명, {online}명 접속 중"],
  typing: ["typing…", "입력 중…"],
  typing1: ["{a} is typing…", "{a} 님이 입력 중…"],
  typing2: ["{a} and {b} are typing…", "{a}, {b} 님이 입력 중…"],
  typingMany: ["Several people are typing…", "여러 명이 입력 중…"],
  seen: ["Seen", "읽음"],
  seenBy: ["Seen by {names}", "{names} 읽음"],
  seenByAll: ["Seen by everyone", "모두 읽음"],
  newHere: ["New", "여기부터 새 메시지"],
  unread: ["{n} unread", "안 읽은 메시지 {n}개"],
  byMe: ["You: {text}", "나: {text}"],
  by: ["{name}: {text}", "{name}: {text}"],
  made: ["{name} made the group", "{name} 님이 그룹을 만들었어요"],
  joined: ["{name} joined", "{name} 님이 들어왔어요"],
  added: ["{by} added {name}", "{by} 님이 {name} 님을 추가했어요"],
  left: ["{name} left", "{name} 님이 나갔어요"],
  removed: ["{by} removed {name}", "{by} 님이 {name} 님을 내보냈어요"],
  madeMe: ["You made the group", "내가 그룹을 만들었어요"],
  joinedMe: ["You joined", "내가 들어왔어요"],
  addedMe: ["{by} added you", "{by} 님이 나를 추가했어요"],
  addedByMe: ["You added {name}", "내가 {name} 님을 추가했어요"],
  leftMe: ["You left", "내가 나갔어요"],
  removedMe: ["{by} removed you", "{by} 님이 나를 내보냈어요"],
  removedByMe: ["You removed {name}", "내가 {name} 님을 내보냈어요"],
  beganWith: ["This is where your conversation with {name} begins.", "{name} 님과의 대화가 여기서 시작돼요."],
  beganGroup: ["This is where the group begins.", "그룹이 여기서 시작돼요."],
  started: ["No messages yet", "아직 메시지가 없어요"],
  alone: ["Just you", "나만 있는 방"],
  noRooms: ["No conversations yet", "아직 대화가 없어요"],
  noRoomsText: ["Find somebody by name, and say hello.", "이름으로 사람을 찾아 인사를 건네 보세요."],
  pick: ["Pick a conversation", "대화를 골라 주세요"],
  pickText: ["Or find somebody by name and begin a new one.", "또는 이름으로 사람을 찾아 새로 시작해 보세요."],
  sayHello: ["Say hello to {name}", "{name} 님에게 인사를 건네 보세요"],
  sayHelloText: ["There are only the two of you here.", "여기에는 두 사람만 있어요."],
  sayHelloAll: ["Say hello to everybody", "모두에게 인사를 건네 보세요"],
  sayHelloAllText: ["Only its members are here.", "여기에는 멤버만 있어요."],
  noRoom: ["This conversation is not there", "이 대화를 찾을 수 없어요"],
  noRoomText: ["It may never have been, or you are not in it.", "없는 대화이거나, 이 대화의 멤버가 아니에요."],
  outOfRoom: ["You are not in this conversation any more", "더 이상 이 대화의 멤버가 아니에요"],
  outOfRoomText: ["You have left it, or somebody has removed you.", "나왔거나, 누군가 내보냈어요."],
  unreachable: ["maru cannot be reached", "maru에 연결할 수 없어요"],
  unreachableText: ["It will be tried again by itself.", "잠시 뒤 저절로 다시 시도해요."],
  notListed: ["Your conversations could not be loaded.", "대화 목록을 불러오지 못했어요."],
  showMore: ["Show more", "더 보기"],
  nameTitle: ["What shall people call you?", "어떤 이름으로 부를까요?"],
  nameText: ["By this name others find you and know who is writing.", "이 이름으로 다른 사람이 나를 찾고, 누가 썼는지 알아봐요."],
  nameKeep: ["Not now", "나중에"],
  nameGo: ["Continue", "계속하기"],
  nameless: ["Nobody can find you yet.", "아직 아무도 나를 찾을 수 없어요."],
  chooseName: ["Choose a name", "이름 정하기"],
  notify: ["Notify me of new messages", "새 메시지 알림 받기"],
  notifyDenied: ["Notifications are blocked in the browser.", "브라우저에서 알림이 차단되어 있어요."],
  notifies: ["Notifications are on.", "알림이 켜져 있어요."],
});

const day = new Intl.DateTimeFormat(language, { month: "short", day: "numeric" });
const date = new Intl.DateTimeFormat(language, { dateStyle: "medium" });

/** As short as a list has room for: a time today, then a day. */
export function whenOf(ts, now = Date.now()) {
  const named = dayOf(ts, now);
  if (named === words("today")) return timeOf(ts);
  if (named === words("yesterday")) return named;
  return (new Date(ts).getFullYear() === new Date(now).getFullYear() ? day : date).format(ts);
}

/** A quiet line for somebody who came into a room or left it. */
export function changeOf({ type, seq, user, by }, myId) {
  const began = type === "join" && seq === 1;
  const key = began ? "made" : type === "join" ? (by ? "added" : "joined") : by ? "removed" : "left";
  const whose = user.id === myId ? "Me" : by?.id === myId ? "ByMe" : "";
  return words(key + whose, { name: user.name, by: by?.name });
}

/** One line for the last thing that happened in a room. */
export function previewOf({ kind, last }, myId) {
  if (last.type === "join" || last.type === "leave") return kind === "direct" ? words("started") : changeOf(last, myId);
  const text = last.status === "deleted" || last.type === "delete" ? words("deleted") : last.text;
  if (last.user.id === myId) return words("byMe", { text });
  return kind === "group" ? words("by", { name: last.user.name, text }) : text;
}

export function typingOf(names) {
  const [a, b] = names;
  if (names.length === 0) return "";
  if (names.length > 2) return words("typingMany");
  return words(names.length === 2 ? "typing2" : "typing1", { a, b });
}
