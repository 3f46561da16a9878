// The dashboard's life: marks figures that changed, draws the chart, holds new vouchers back while
// the reader is in the list. The server sends the figures; nothing here computes one.

const byId = (id) => document.getElementById(id);
const moved = () => document.dispatchEvent(new Event("warebook:moved"));

// Figures that changed light up once.
function flash(element) {
  element.classList.remove("flash");
  void element.offsetWidth; // restarts the animation
  element.classList.add("flash");
}

const figures = new WeakMap();
function noteFigures(root) {
  for (const element of root.querySelectorAll("[data-flash]")) {
    const text = element.textContent.trim();
    const before = figures.get(element);
    if (before !== undefined && before !== text) flash(element);
    figures.set(element, text);
  }
}

function watchFigures() {
  const parts = ["hero", "tiles", "sites"].map(byId);
  for (const part of parts) {
    noteFigures(part);
    const look = () => {
      noteFigures(part);
      moved();
    };
    new MutationObserver(look).observe(part, { childList: true, characterData: true, subtree: true });
  }
}

// Vouchers: rows never move under the reader's pointer or focus.
function watchVouchers() {
  const list = byId("latest");
  const next = byId("latest-next");
  const held = byId("held");
  let pointerIsIn = false;

  const ids = (root) => [...root.querySelectorAll("[data-id]")].map((row) => row.dataset.id);
  const show = () => {
    if (next.childElementCount === 0) return;
    const known = new Set(ids(list));
    list.replaceChildren(...[...next.children].map((row) => row.cloneNode(true)));
    for (const row of list.children) {
      if (known.size > 0 && !known.has(row.dataset.id)) row.classList.add("fresh");
    }
    held.hidden = true;
    moved();
  };
  const offer = () => {
    const known = new Set(ids(list));
    const fresh = ids(next).filter((id) => !known.has(id)).length;
    if (fresh === 0) return;
    if (!pointerIsIn && !list.contains(document.activeElement)) return show();
    held.textContent = held.dataset.text.replace("{ $n }", String(fresh));
    held.hidden = false;
  };

  list.addEventListener("pointerenter", () => (pointerIsIn = true));
  list.addEventListener("pointerleave", () => {
    pointerIsIn = false;
    show();
  });
  held.addEventListener("click", (event) => {
    event.preventDefault();
    show();
  });
  new MutationObserver(offer).observe(next, { childList: true });
}

// The chart takes the place of the plain drawing and moves with it.
function readDays() {
  const data = byId("days").querySelector("[data-days]")?.dataset.days ?? "";
  const pairs = data.split(",").filter(Boolean).map((pair) => pair.split("="));
  return [pairs.map(([day]) => Date.parse(`${day}T00:00:00Z`) / 1_000), pairs.map(([, value]) => Number(value))];
}

function drawChart() {
  const place = byId("chart");
  if (typeof uPlot === "undefined" || readDays()[0].length === 0) return;
  document.documentElement.classList.add("has-chart");
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const language = document.documentElement.lang;
  const decimals = Number(place.dataset.decimals);
  const whole = new Intl.NumberFormat(language, { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
  const compact = new Intl.NumberFormat(language, { notation: "compact", maximumSignificantDigits: 4 });
  const day = new Intl.DateTimeFormat(language, { month: "numeric", day: "numeric", timeZone: "UTC" });
  const axis = () => ({
    stroke: () => color("--soft"),
    grid: { stroke: () => color("--line"), width: 1 },
    ticks: { show: false },
    font: "12px system-ui, sans-serif",
  });
  const caption = byId("chart-note");
  const title = caption.textContent;
  const note = (chart) => {
    const place = chart.cursor.idx;
    const [days, values] = chart.data;
    caption.textContent = place == null ? title : `${day.format(days[place] * 1_000)} · ${whole.format(values[place])}`;
  };
  const size = () => ({ width: Math.max(place.clientWidth, 200), height: 176 });
  const chart = new uPlot(
    {
      ...size(),
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1_000), "Etc/UTC"),
      cursor: { y: false, points: { size: 8 } },
      legend: { show: false },
      hooks: { setCursor: [note] },
      scales: { y: { range: (_, low, high) => around(low, high) } },
      series: [
        {},
        {
          stroke: () => color("--accent"),
          fill: () => color("--accent-wash"),
          width: 2,
          points: { show: false },
        },
      ],
      axes: [
        { ...axis(), values: (_, marks) => marks.map((at) => day.format(at * 1_000)), space: 60, size: 28, incrs: [1, 2, 3, 5, 7, 14].map((days) => days * 86_400) },
        { ...axis(), values: (_, marks) => marks.map((value) => compact.format(value)), size: 64, space: 30 },
      ],
    },
    readDays(),
    place,
  );
  new ResizeObserver(() => chart.setSize(size())).observe(place);
  new MutationObserver(() => chart.setData(readDays())).observe(byId("days"), { childList: true });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => chart.redraw());
}

// A line that hardly moves should look so, and still leave room above and below.
function around(low, high) {
  const room = Math.max((high - low) * 0.15, Math.abs(high) * 0.005, 1);
  return [low < 0 ? low - room : Math.max(0, low - room), high + room];
}

watchFigures();
watchVouchers();
drawChart();
