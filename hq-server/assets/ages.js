// Shows how long ago a time was, beside the exact one, and keeps it true while the page is open.

const units = [
  [86_400_000, "day"],
  [3_600_000, "hour"],
  [60_000, "minute"],
  [1_000, "second"],
];
const format = new Intl.RelativeTimeFormat(document.documentElement.lang, { numeric: "auto", style: "short" });

function age(then, now) {
  const past = Math.max(0, now - then);
  const [size, unit] = units.find(([size]) => past >= size) ?? units.at(-1);
  return format.format(-Math.floor(past / size), unit);
}

function refresh() {
  const now = Date.now();
  for (const time of document.querySelectorAll("time[datetime][title]")) {
    const text = age(Date.parse(time.dateTime), now);
    if (time.dataset.age !== text) time.dataset.age = text;
  }
}

refresh();
setInterval(refresh, 1_000);
document.addEventListener("warebook:moved", refresh);
