"use strict";
// What the pages do beside htmx: times for people, a log that stays at its end, and charts.
(function () {
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
  const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

  function relative(at) {
    const seconds = Math.round((at - Date.now()) / 1000), far = Math.abs(seconds);
    if (far < 2) return "now";
    for (const [size, name] of units) {
      if (far >= size) {
        const n = Math.floor(far / size);
        return seconds < 0 ? n + " " + name + " ago" : "in " + n + " " + name;
      }
    }
    return "now";
  }

  function showTime(element) {
    const at = new Date(element.dateTime);
    if (isNaN(at)) return;
    const text = element.closest(".line") ? clock.format(at) : relative(at);
    if (element.textContent !== text) element.textContent = text;
    if (!element.title) element.title = full.format(at);
  }

  const showTimes = (root) => root.querySelectorAll("time").forEach(showTime);

  // A log and a list of events have a bounded number of lines.
  const maxLines = 2000;

  new MutationObserver((changes) => {
    const logs = new Set();
    for (const change of changes) {
      for (const node of change.addedNodes) {
        if (node.nodeType !== 1) continue;
        if (node.tagName === "TIME") showTime(node); else showTimes(node);
        if (node.classList.contains("line")) logs.add(node.parentNode);
        if (node.id === "events" || change.target.id === "events") trim(document.getElementById("events"), false);
        if (node.classList.contains("notice")) change.target.scrollIntoView({ block: "nearest" });
      }
    }
    for (const log of logs) {
      if (!log) continue;
      trim(log, true);
      if (!log.dataset.away) log.scrollTop = log.scrollHeight;
    }
  }).observe(document.documentElement, { childList: true, subtree: true });

  function trim(list, first) {
    while (list && list.children.length > maxLines) (first ? list.firstChild : list.lastChild).remove();
  }

  // Who scrolls up in a log reads; who scrolls down again follows.
  document.addEventListener("scroll", (event) => {
    const log = event.target;
    if (!(log instanceof Element) || !log.classList.contains("log")) return;
    if (log.scrollHeight - log.scrollTop - log.clientHeight > 40) log.dataset.away = "yes"; else delete log.dataset.away;
  }, true);

  // A panel that was opened closes with Escape, or when something else is meant.
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") document.querySelectorAll("details.menu[open]").forEach((menu) => { menu.open = false; });
    if (event.key === "/" && !event.target.closest("input, select, textarea")) {
      const search = document.querySelector("input[type=search]");
      if (search) { event.preventDefault(); search.focus(); }
    }
  });
  document.addEventListener("click", (event) => {
    document.querySelectorAll("details.menu[open]").forEach((menu) => { if (!menu.contains(event.target)) menu.open = false; });
  });

  function number(v) {
    if (v === null || v === undefined) return "–";
    return v >= 100 || Number.isInteger(v) ? String(Math.round(v)) : v.toFixed(v >= 10 ? 1 : 2);
  }

  const plots = new Map();

  function draw(figure, at, values) {
    const box = figure.querySelector(".plot"), now = figure.querySelector("b"), unit = figure.dataset.unit;
    const last = values.length ? values[values.length - 1] : null;
    const text = number(last) + (last === null ? "" : unit);
    now.textContent = text;
    box.setAttribute("role", "img");
    box.setAttribute("aria-label", figure.querySelector("figcaption").firstChild.textContent.trim() + ", the latest value is " + text);
    if (!values.some((v) => v !== null)) {
      if (plots.has(figure)) { plots.get(figure).destroy(); plots.delete(figure); }
      box.classList.add("unknown");
      box.textContent = at.length < 2 ? "No samples yet." : "Not counted on this machine.";
      return;
    }
    if (plots.has(figure)) { plots.get(figure).setData([at, values]); return; }
    box.classList.remove("unknown");
    box.textContent = "";
    const style = getComputedStyle(document.documentElement), of = (name) => style.getPropertyValue(name).trim();
    const axis = { stroke: of("--soft"), grid: { stroke: of("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    const bars = figure.dataset.chart === "wakes";
    plots.set(figure, new uPlot({
      width: box.clientWidth, height: box.clientHeight, legend: { show: false }, cursor: { drag: { x: false, y: false }, y: false },
      scales: { y: { range: (u, min, max) => [0, Math.max(max * 1.15, bars ? 2 : 0.1)] } },
      axes: [Object.assign({ size: 22, space: 70, values: (u, list) => list.map((t) => clock.format(new Date(t * 1000)).slice(0, at[at.length - 1] - at[0] < 600 ? 8 : 5)) }, axis), Object.assign({ size: 40, space: 30 }, axis)],
      series: [{}, {
        stroke: of("--main"), fill: of("--main") + "2b", width: 1.5, points: { show: values.length < 3 }, spanGaps: false,
        paths: bars ? uPlot.paths.bars({ size: [0.9, 8] }) : undefined,
      }],
      hooks: { setCursor: [(u) => { const i = u.cursor.idx; now.textContent = i === null || i === undefined ? text : number(u.data[1][i]) + unit; }] },
    }, [at, values], box));
  }

  async function charts() {
    const place = document.getElementById("charts");
    if (!place || document.hidden) return;
    let got;
    try {
      const answer = await fetch(place.dataset.url, { headers: { "HX-Request": "true" } });
      if (!answer.ok) return;
      got = await answer.json();
    } catch { return; } // it is asked again
    place.querySelectorAll("figure").forEach((figure) => draw(figure, got.at, got[figure.dataset.chart] || []));
    place.dataset.drawn = got.at.length;
  }

  function again() {
    plots.forEach((plot) => plot.destroy());
    plots.clear();
    charts();
  }

  function start() {
    showTimes(document);
    charts();
    setInterval(() => { if (!document.hidden) showTimes(document); }, 5000);
    setInterval(charts, 10000);
    document.addEventListener("visibilitychange", charts);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
    let width = innerWidth, due;
    addEventListener("resize", () => {
      if (innerWidth === width) return;
      width = innerWidth;
      clearTimeout(due);
      due = setTimeout(again, 200);
    });
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start); else start();
})();
