"use strict";
// Reads the charts out and looks closer. Without it the page is complete, but for that.
(() => {
  const width = 10000; // of a chart's drawing area, in its own coordinates
  const steps = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];
  const live = document.querySelector(".live");
  document.documentElement.classList.add("scripted");

  const two = n => String(n).padStart(2, "0");
  const clock = (t, end) => {
    if (end <= 120) return +t.toFixed(2) + " s";
    const s = Math.round(t);
    if (end < 3600) return Math.floor(s / 60) + ":" + two(s % 60);
    return Math.floor(s / 3600) + ":" + two(Math.floor(s / 60) % 60) + ":" + two(s % 60);
  };

  // The charts of one table are read out together, and look closer together.
  const tables = new Map();
  for (const plot of document.querySelectorAll(".plot")) {
    const name = plot.dataset.table;
    if (!tables.has(name)) tables.set(name, []);
    tables.get(name).push(plot);
  }
  for (const [name, plots] of tables) begin(document.getElementById(name), plots);

  function begin(table, plots) {
    if (!table) return;
    const rows = [...table.tBodies[0].rows];
    const places = rows.map(row => +row.dataset.x);
    const end = +plots[0].dataset.end;
    const zooms = "zoom" in plots[0].dataset;
    let low = 0, high = end, current = -1;

    const part = x => (x - low) / (high - low);
    const nearest = x => {
      let best = 0;
      places.forEach((place, i) => { if (Math.abs(place - x) < Math.abs(places[best] - x)) best = i; });
      return best;
    };

    function show(i, speak) {
      current = i;
      const cells = rows[i].cells, x = Math.round(places[i] / end * width);
      for (const plot of plots) {
        plot.querySelector(".cross").setAttribute("d", `M${x} 0V1000`);
        const legend = plot.parentElement.querySelector(".legend");
        for (const item of legend.querySelectorAll("[data-column]")) {
          item.querySelector("output").textContent = cells[item.dataset.column].textContent || "–";
        }
        legend.querySelector(".when").textContent = cells[0].textContent;
        if (speak === plot) {
          live.textContent = cells[0].textContent + ": " + [...legend.querySelectorAll("[data-column]")]
            .map(item => item.dataset.name + " " + item.querySelector("output").textContent).join(", ");
        }
      }
    }

    function hide() {
      current = -1;
      for (const plot of plots) {
        plot.querySelector(".cross").setAttribute("d", "");
        const legend = plot.parentElement.querySelector(".legend");
        for (const output of legend.querySelectorAll("output")) output.textContent = output.dataset.whole;
        legend.querySelector(".when").textContent = low > 0 || high < end ? clock(low, end) + " to " + clock(high, end) : "";
      }
    }

    function look(from, to) {
      if (!zooms) return;
      const least = end / Math.max(50, places.length);
      low = Math.max(0, from);
      high = Math.min(end, Math.max(to, low + least));
      const step = steps.find(s => (high - low) / s <= 6) || (high - low) / 6;
      for (const plot of plots) {
        plot.querySelector(".area").setAttribute("viewBox", `${low / end * width} 0 ${(high - low) / end * width} 1000`);
        const marks = [];
        for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * end; k++) {
          const mark = document.createElementNS("http://www.w3.org/2000/svg", "text");
          mark.setAttribute("x", part(k * step) * 100 + "%");
          mark.setAttribute("y", "18");
          mark.textContent = clock(k * step, end);
          marks.push(mark);
        }
        plot.querySelector(".x").replaceChildren(...marks);
        for (const flag of plot.querySelectorAll(".flags text")) {
          const at = part(+flag.dataset.x);
          flag.setAttribute("x", at * 100 + "%");
          flag.setAttribute("visibility", at < 0 || at > 1 ? "hidden" : "visible");
        }
      }
      hide();
    }

    for (const plot of plots) {
      const area = plot.querySelector(".area"), chosen = plot.querySelector(".chosen");
      let pressed = null;
      const where = event => {
        const box = area.getBoundingClientRect();
        return low + Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * (high - low);
      };
      area.addEventListener("pointermove", event => {
        const x = where(event);
        show(nearest(x), null);
        if (pressed === null) return;
        chosen.setAttribute("x", Math.min(pressed, x) / end * width);
        chosen.setAttribute("width", Math.abs(x - pressed) / end * width);
      });
      area.addEventListener("pointerdown", event => {
        if (!zooms || event.pointerType !== "mouse" || event.button !== 0) return;
        pressed = where(event);
        area.setPointerCapture(event.pointerId);
      });
      area.addEventListener("pointerup", event => {
        if (pressed === null) return;
        const from = pressed, x = where(event);
        pressed = null;
        chosen.setAttribute("width", 0);
        if (Math.abs(x - from) > (high - low) / 100) look(Math.min(from, x), Math.max(from, x));
      });
      area.addEventListener("pointerleave", hide);
      area.addEventListener("blur", hide);
      area.addEventListener("dblclick", () => look(0, end));
      area.addEventListener("keydown", event => {
        const at = current < 0 ? nearest((low + high) / 2) : current;
        const near = (high - low) / 4, middle = places[at];
        const keys = {
          ArrowLeft: () => show(Math.max(0, at - 1), plot),
          ArrowRight: () => show(Math.min(rows.length - 1, at + 1), plot),
          Home: () => show(nearest(low), plot),
          End: () => show(nearest(high), plot),
          "+": () => look(middle - near, middle + near),
          "=": () => look(middle - near, middle + near),
          "-": () => look(low - 2 * near, high + 2 * near),
          Escape: () => look(0, end),
        };
        if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
        keys[event.key]();
        event.preventDefault();
      });
    }
  }
})();
