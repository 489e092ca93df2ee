"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const views = new Map(); // plot element -> its Vega view
  let picked = "";

  // Charts

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function config() {
    const [ink, soft, faint] = [css("--ink"), css("--soft"), css("--faint")];
    const axis = { labelColor: soft, titleColor: soft, domainColor: faint, tickColor: faint, gridColor: faint,
      gridOpacity: 0.5, titleFontWeight: "normal", labelFontSize: 11, titleFontSize: 11 };
    return { background: null, font: css("--sans"), axis, view: { stroke: null }, text: { color: ink },
      axisY: { labelColor: ink }, header: { labelColor: ink } };
  }

  function fitted(spec, width) {
    if (spec.facet) spec.columns = Math.max(1, Math.min(spec.columns, Math.floor(width / 225)));
    else spec.width = Math.min(spec.width, width);
    return spec;
  }

  async function draw(plot, spec) {
    const width = plot.parentElement.closest("section, details").clientWidth;
    const options = { renderer: "svg", actions: false, config: config() };
    const { view } = await vegaEmbed(plot, fitted(structuredClone(spec), width), options);
    views.set(plot, view);
    view.addEventListener("click", (event, item) => pick(item?.datum?.method ?? ""));
    if (picked) show(view);
  }

  function show(view) {
    try { view.signal("picked", picked).run(); } catch { /* a chart of a single trial has no such signal */ }
  }

  function pick(method) {
    picked = method === picked ? "" : method;
    for (const button of all(".legend button")) button.setAttribute("aria-pressed", String(button.dataset.method === picked));
    for (const view of views.values()) show(view);
  }

  const parsed = (id) => JSON.parse(document.getElementById(id).textContent);

  function trialSpec(trial) {
    const lines = Object.entries(parsed("curves")[trial.dataset.curves] ?? {});
    const values = lines.flatMap(([panel, [steps, ys]]) => steps.map((step, i) => ({ panel, step, value: ys[i] })));
    return {
      data: { values },
      facet: { field: "panel", type: "nominal", sort: null, header: { title: null, labelAnchor: "start", labelFontWeight: "normal" } },
      columns: 4,
      spec: {
        width: 170, height: 90, mark: { type: "line", strokeWidth: 1.2, color: trial.dataset.color, point: values.length < 4 },
        encoding: {
          x: { field: "step", type: "quantitative", title: null, axis: { tickCount: 3, format: ",d", grid: false } },
          y: { field: "value", type: "quantitative", title: null, scale: { zero: false }, axis: { tickCount: 3, format: "~g" } },
        },
      },
      resolve: { scale: { x: "independent", y: "independent" } },
    };
  }

  async function drawAll() {
    if (typeof vegaEmbed === "undefined") return;
    for (const plot of all(".plot[data-spec]")) if (!plot.closest("details:not([open])")) await draw(plot, parsed(plot.dataset.spec));
    for (const trial of all(".trial[open][data-curves]")) await draw(trial.querySelector(".curves"), trialSpec(trial));
    document.documentElement.dataset.charts = "drawn";
  }

  for (const more of all("details.more")) {
    more.addEventListener("toggle", async () => {
      if (!more.open || typeof vegaEmbed === "undefined") return;
      for (const plot of all(".plot[data-spec]", more)) if (!views.has(plot)) await draw(plot, parsed(plot.dataset.spec));
    });
  }
  for (const trial of all(".trial[data-curves]")) {
    trial.addEventListener("toggle", () => {
      const plot = trial.querySelector(".curves");
      if (trial.open && !views.has(plot) && typeof vegaEmbed !== "undefined") draw(plot, trialSpec(trial));
    });
  }
  for (const button of all(".legend button")) button.addEventListener("click", () => pick(button.dataset.method));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);

  // Tables

  function sort(header) {
    const table = header.closest("table");
    const column = [...header.parentElement.children].indexOf(header);
    const ascending = header.getAttribute("aria-sort") !== "ascending";
    for (const other of all("thead th", table)) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
    header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const key = (group) => {
      const cell = group.rows[0].children[column];
      return cell?.dataset.sort ?? cell?.textContent.trim() ?? "";
    };
    const compare = (a, b) => {
      const [x, y] = [key(a), key(b)];
      if ((x === "") !== (y === "")) return x === "" ? 1 : -1; // what is missing stays at the end
      const order = !isNaN(x) && !isNaN(y) ? x - y : x.localeCompare(y, undefined, { numeric: true });
      return ascending ? order : -order;
    };
    table.append(...[...table.tBodies].sort(compare));
  }
  for (const button of all(".sortable button.sort")) button.addEventListener("click", () => sort(button.closest("th")));

  const filter = document.getElementById("filter");
  filter?.addEventListener("input", () => {
    const wanted = filter.value.trim().toLowerCase();
    for (const element of all("[data-name]")) element.hidden = !element.dataset.name.toLowerCase().includes(wanted);
  });

  // Addresses

  function unfold() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let element = target; element; element = element.parentElement) if (element.tagName === "DETAILS") element.open = true;
    target.scrollIntoView();
  }
  addEventListener("hashchange", unfold);
  unfold();
  drawAll();
})();
