"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Tables

  /** Brings in the lines of a table that wait in its template. */
  function complete(table) {
    const waiting = table.querySelector("template");
    if (!waiting) return;
    waiting.replaceWith(waiting.content);
    table.closest(".scroll").nextElementSibling?.remove(); // the button that asked for them
    narrow(table);
  }

  function sort(header) {
    const table = header.closest("table");
    complete(table);
    const column = [...header.parentElement.children].indexOf(header);
    const ascending = header.getAttribute("aria-sort") !== "ascending";
    for (const other of all("thead th[aria-sort]", table)) other.setAttribute("aria-sort", "none");
    header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const keyed = [...table.tBodies].map((body) => {
      const cell = body.rows[0].children[column];
      return [cell?.dataset.sort ?? cell?.textContent.trim() ?? "", body];
    });
    keyed.sort(([x], [y]) => {
      if ((x === "") !== (y === "")) return x === "" ? 1 : -1; // what is missing stays at the end
      const order = !isNaN(x) && !isNaN(y) ? x - y : x.localeCompare(y, undefined, { numeric: true });
      return ascending ? order : -order;
    });
    table.append(...keyed.map(([, body]) => body));
  }
  for (const button of all(".sortable button.sort")) button.addEventListener("click", () => sort(button.closest("th")));
  for (const button of all("button.all")) {
    button.addEventListener("click", () => {
      const region = button.closest(".rest").previousElementSibling;
      complete(region.querySelector("table"));
      region.focus();
    });
  }

  const filter = document.getElementById("filter");
  const wanted = () => filter?.value.trim().toLowerCase() ?? "";
  function narrow(root) {
    for (const element of all("[data-name]", root)) element.hidden = !element.dataset.name.toLowerCase().includes(wanted());
  }
  filter?.addEventListener("input", () => {
    if (wanted()) for (const table of all("table.sortable")) complete(table);
    narrow(document);
  });

  // Charts

  const views = new Map(); // plot element -> its Vega view
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let picked = "";

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
    else if (spec.width) spec.width = Math.min(spec.width, width);
    return spec;
  }

  async function draw(plot) {
    const spec = JSON.parse(document.getElementById(plot.dataset.spec).textContent);
    const width = plot.closest("section").clientWidth;
    const options = { renderer: "svg", actions: false, config: config(), tooltip: { theme: dark.matches ? "dark" : "light" } };
    const { view } = await vegaEmbed(plot, fitted(spec, width), options);
    views.set(plot, view);
    view.addEventListener("click", (event, item) => pick(item?.datum?.method ?? ""));
    if (picked) show(view);
  }

  function show(view) {
    try { view.signal("picked", picked).run(); } catch { /* a chart of a single method has no such signal */ }
  }

  function pick(method) {
    picked = method === picked ? "" : method;
    for (const button of all(".legend button")) button.setAttribute("aria-pressed", String(button.dataset.method === picked));
    for (const view of views.values()) show(view);
  }
  for (const button of all(".legend button")) button.addEventListener("click", () => pick(button.dataset.method));

  if (typeof vegaEmbed !== "undefined") {
    const near = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        near.unobserve(entry.target);
        draw(entry.target);
      }
    }, { rootMargin: "400px" });
    for (const plot of all(".plot[data-spec]")) near.observe(plot);
    dark.addEventListener("change", () => { for (const plot of [...views.keys()]) draw(plot); });
  }
})();
