// How this node stands and what became of its newest movements, read every two seconds.
// Asks the local API only; what it shows is text, never markup.
const texts = {
  zh: {
    recorded: "已记录", received: "已到总部", safe: "已备份", posted: "已入账", waiting: "待发送",
    set_aside: "总部待处理", carried: "由邻站代送：", newest: "最近记录",
    neighbours: "邻站", connected: "已连接", apart: "未连接", discovered: "自动发现", undiscovered: "无法自动发现邻站", warning: "注意",
    columns: ["序号", "单号", "类别", "发生时间", "物料", "数量", "单位", "进度", "凭证"],
    progress: { recorded: "已记录", received: "已到总部", posted: "已入账", waits: "总部待处理" },
    link: { online: "已连接总部", connecting: "正在连接总部", waiting: "未连接，自动重试", refused: "总部拒绝", stopped: "未运行" },
    lost: "本机服务没有应答",
    kinds: {
      receipt: "收货", sale_issue: "销售出库", issue: "领用", customer_return: "客户退货", supplier_return: "退供应商",
      transfer_ship: "调拨发出", transfer_receive: "调拨收货", count: "盘点", adjustment: "调整", scrap: "报废",
      production_in: "生产入库", production_out: "生产领料", repack_out: "拆装出", repack_in: "拆装入",
      service_sale: "服务销售", reversal: "冲销", status_change: "状态变更",
    },
  },
  en: {
    recorded: "Recorded", received: "At HQ", safe: "Safe", posted: "Posted", waiting: "To be sent",
    set_aside: "Waiting at HQ", carried: "Carried by ", newest: "Newest records",
    neighbours: "Neighbours", connected: "connected", apart: "not connected", discovered: "discovered", undiscovered: "Neighbours are not discovered", warning: "Note",
    columns: ["Place", "Capture", "Kind", "Happened", "Item", "Quantity", "Unit", "Progress", "Voucher"],
    progress: { recorded: "recorded", received: "at HQ", posted: "posted", waits: "waits at HQ" },
    link: { online: "HQ is connected", connecting: "looking for HQ", waiting: "no link, tried again by itself", refused: "HQ refuses", stopped: "stopped" },
    lost: "The node does not answer",
    kinds: {},
  },
};
const t = navigator.language.toLowerCase().startsWith("en") ? texts.en : texts.zh;
document.documentElement.lang = t === texts.en ? "en" : "zh-CN";
const at = (id) => document.getElementById(id);

function element(name, text, className) {
  const made = document.createElement(name);
  made.textContent = text ?? "";
  if (className) made.className = className;
  return made;
}

function level(label, value) {
  const box = document.createElement("div");
  box.append(element("small", label), element("b", value));
  return box;
}

function row(fact) {
  const made = document.createElement("tr");
  const when = fact.occurred_at.slice(0, 16).replace("T", " ");
  made.append(
    element("td", fact.seq, "num"), element("td", fact.capture), element("td", t.kinds[fact.kind] ?? fact.kind.replaceAll("_", " ")),
    element("td", when), element("td", fact.item), element("td", fact.quantity, "num"), element("td", fact.unit),
    element("td", t.progress[fact.progress] ?? fact.progress, fact.progress),
    element("td", fact.voucher ?? fact.waits_for, fact.waits_for ? "why" : ""),
  );
  return made;
}

function neighbour(one, how) {
  const made = document.createElement("li");
  const where = one.address ?? one.addresses[0] ?? one.name;
  made.append(
    element("b", one.site ?? where), " ", element("span", one.connected ? t.connected : t.apart, one.connected ? "on" : ""), " ",
    element("small", [one.site && where, how, one.problem].filter(Boolean).join(" · ")),
  );
  return made;
}

function neighbours(status) {
  const discovery = status.discovery;
  const all = [
    ...(status.addresses ?? []).map((one) => neighbour(one)),
    ...(discovery?.found ?? []).map((one) => neighbour(one, t.discovered)),
    ...(status.warnings ?? []).map((warning) => element("li", `${t.warning}: ${warning}`)),
    ...(discovery?.problem ? [element("li", `${t.undiscovered}: ${discovery.problem}`)] : []),
  ];
  const section = at("neighbours");
  section.hidden = all.length === 0;
  section.querySelector("h2").textContent = t.neighbours;
  section.querySelector("ul").replaceChildren(...all);
}

function problem(text) {
  at("problem").hidden = !text;
  at("problem").textContent = text ?? "";
}

async function read(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error((await answer.json()).error.message);
  return answer.json();
}

async function show() {
  try {
    const [status, log] = await Promise.all([read("/v1/status"), read("/v1/log?count=50")]);
    at("site").textContent = `${status.site} ${status.site_name}`;
    document.title = `${status.site} · Warebook`;
    at("link").textContent = t.link[status.link.state] ?? status.link.state;
    at("link").className = status.link.state;
    problem(status.link.problem ?? status.link.warning);
    at("levels").replaceChildren(
      level(t.recorded, status.last), level(t.waiting, status.waiting), level(t.received, status.received),
      ...(status.neighbours?.carried_by ?? []).map((carrier) => level(t.carried + carrier.site, carrier.last)),
      level(t.safe, status.safe), level(t.posted, status.posted), level(t.set_aside, status.set_aside),
    );
    neighbours(status.neighbours ?? {});
    at("facts").replaceChildren(...log.facts.reverse().map(row));
  } catch (error) {
    problem(`${t.lost}: ${error.message}`);
  }
}

at("newest").textContent = t.newest;
const numbers = [0, 5];
const heading = (column, place) => element("th", column, numbers.includes(place) ? "num" : "");
at("columns").replaceChildren(...t.columns.map(heading));
show();
setInterval(show, 2000);
