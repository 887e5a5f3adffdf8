/** Texts that would be more than text on a page that is not careful. */

export const HOSTILE_NAME = "<b onclick=alert(6)>Eve</b>";

export const HOSTILE_TEXTS = [
  "<img src=x onerror=\"alert(1)\">",
  "</script><script>alert(2)</script>",
  "<svg/onload=alert(3)><style>*{display:none}</style>",
  "javascript:alert(4)",
  "data: x\nid: 9\nevent: bye\n\nretry: 1\n\ndata: {}",
  "carriage\rreturn\r\n\r\ndata: y",
  "\u202Eright to left override\u202C and \u2066an isolate",
  "\u05E9\u05DC\u05D5\u05DD and \u0645\u0631\u062D\u0628\u0627, 123",
  "\uFEFFbom \u2028 line \u2029 paragraph \u200B zero",
  "{{hash}} ${alert(5)} {name}",
  "W".repeat(3_000),
  "👩‍👩‍👧‍👦 🇰🇷 Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘!͖̬̰̙̗̿̋ͥͥ̂ͣ̐́́͜͞",
];
