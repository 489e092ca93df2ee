"use strict";
(() => {
  const PAGE = 100; // lines shown at a time
  const form = document.getElementById("search");
  const found = document.getElementById("found");
  const count = document.getElementById("count");
  const pages = document.querySelector(".pages");
  const before = document.getElementById("before");
  const after = document.getElementById("after");
  const headers = [...document.querySelectorAll(".found button.sort")];
  const { texts } = trials;
  const sweepNames = new Map([...form.elements.sweep.options].map((option) => [option.value, option.text]));

  const all = trials.lines.map(([id, setting, method, dataset, sweep, seed, status, seconds, address], place) => {
    const line = { id, setting: texts[setting], method: texts[method], dataset: texts[dataset], sweep: texts[sweep],
      seed, status: texts[status], training: seconds, place };
    line.address = address ?? `trials/${id}.html`;
    line.text = `${line.setting} ${line.dataset} ${line.sweep} ${line.status} seed=${seed} ${id}`.toLowerCase();
    return line;
  });
  for (const status of [...new Set(all.map((line) => line.status))].sort()) form.elements.status.add(new Option(status));

  // The search is in the address, so that it can be sent: #q=…&sweep=…&method=…&status=…&sort=…&page=…

  const fields = ["q", "sweep", "method", "status"];
  let state = {};

  function read() {
    const asked = new URLSearchParams(location.hash.slice(1));
    state = { sort: asked.get("sort") ?? "", page: Math.max(1, Number(asked.get("page")) || 1) };
    for (const name of fields) form.elements[name].value = state[name] = asked.get(name) ?? "";
    show();
  }

  function write(changes) {
    const next = { ...state, page: 1, ...changes };
    const asked = new URLSearchParams();
    for (const name of [...fields, "sort"]) if (next[name]) asked.set(name, next[name]);
    if (next.page > 1) asked.set("page", next.page);
    history.replaceState(null, "", `#${asked}`);
    read();
  }

  function matching() {
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    return all.filter((line) =>
      (!state.sweep || line.sweep === state.sweep) && (!state.method || line.method === state.method) &&
      (!state.status || (state.status === "not ok" ? line.status !== "ok" : line.status === state.status)) &&
      words.every((word) => line.text.includes(word)));
  }

  const collator = new Intl.Collator(undefined, { numeric: true });
  function sorted(lines) {
    const descending = state.sort.startsWith("-");
    const key = state.sort.replace("-", "");
    if (!headers.some((button) => button.dataset.key === key)) return lines;
    const order = (a, b) => {
      const [x, y] = [a[key], b[key]];
      if ((x === null) !== (y === null)) return x === null ? 1 : -1; // what is missing stays at the end
      const by = typeof x === "string" ? collator.compare(x, y) : x - y;
      return (descending ? -by : by) || a.place - b.place;
    };
    return lines.sort(order);
  }

  function cell(tag, text, className = "") {
    const made = document.createElement(tag);
    if (tag === "th") made.scope = "row";
    made.className = className;
    made.append(text);
    return made;
  }

  function link(line, text) {
    const made = document.createElement("a");
    made.href = line.address;
    made.append(text);
    return made;
  }

  const time = (seconds) => {
    if (seconds === null) return "—";
    if (seconds >= 3600) return `${(seconds / 3600).toFixed(1)} h`;
    if (seconds >= 60) return `${(seconds / 60).toFixed(1)} min`;
    return seconds < 10 ? `${seconds.toPrecision(2)} s` : `${Math.round(seconds)} s`;
  };

  function row(line) {
    const made = document.createElement("tr");
    const id = document.createElement("code");
    id.append(line.id.slice(0, 8));
    made.append(cell("th", link(line, line.setting)), cell("td", line.dataset), cell("td", line.seed, "number"),
      cell("td", line.status, line.status === "ok" ? "" : "notable"), cell("td", time(line.training), "number"),
      cell("td", sweepNames.get(line.sweep) ?? line.sweep), cell("td", id));
    return made;
  }

  function show() {
    const lines = sorted(matching());
    const last = Math.max(1, Math.ceil(lines.length / PAGE));
    const page = Math.min(state.page, last);
    found.replaceChildren(...lines.slice((page - 1) * PAGE, page * PAGE).map(row));
    count.textContent = lines.length === all.length ? `${all.length.toLocaleString("en")} trials`
      : `${lines.length.toLocaleString("en")} of ${all.length.toLocaleString("en")} trials`;
    pages.hidden = last === 1;
    document.getElementById("where").textContent = `Page ${page} of ${last}`;
    before.disabled = page === 1;
    after.disabled = page === last;
    for (const button of headers) {
      const { key } = button.dataset;
      const order = state.sort === key ? "ascending" : state.sort === `-${key}` ? "descending" : "none";
      button.closest("th").setAttribute("aria-sort", order);
    }
  }

  form.addEventListener("input", () => write(Object.fromEntries(fields.map((name) => [name, form.elements[name].value]))));
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const button of headers) {
    button.addEventListener("click", () => write({ sort: state.sort === button.dataset.key ? `-${state.sort}` : button.dataset.key }));
  }
  function turn(by) {
    write({ page: state.page + by });
    form.scrollIntoView();
  }
  before.addEventListener("click", () => turn(-1));
  after.addEventListener("click", () => turn(1));
  addEventListener("hashchange", read);
  read();
})();
