"use strict";
(() => {
  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
  document.documentElement.classList.add("js");

  // Tabs: one panel of a card at a time, by click and by arrow keys (WAI-ARIA authoring practices, "tabs").
  const select = (button) => {
    for (const other of all("[role=tab]", button.parentElement)) {
      const chosen = other === button;
      other.setAttribute("aria-selected", chosen);
      other.tabIndex = chosen ? 0 : -1;
      document.getElementById(other.getAttribute("aria-controls")).hidden = !chosen;
    }
  };
  for (const list of all("[role=tablist]")) {
    const tabs = all("[role=tab]", list);
    for (const tab of tabs) {
      document.getElementById(tab.getAttribute("aria-controls")).setAttribute("role", "tabpanel");
      tab.addEventListener("click", () => select(tab));
      tab.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step) return;
        const next = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length];
        select(next);
        next.focus();
      });
    }
    if (tabs.length) select(tabs[0]);
  }

  // A link to something within a tab that is not shown opens that tab.
  const open = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    const panel = target.closest("[role=tabpanel]");
    if (panel) select(document.getElementById(`${panel.id}--tab`));
    for (let around = target.closest("details"); around; around = around.parentElement.closest("details")) around.open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", open);

  // Sentences, matrices and marked columns at another K: one choice for the whole page, wherever it is made. The cards
  // turn to what has every K, and back to their first tab.
  for (const at of all(".at")) at.dataset.own = at.textContent;
  const choices = all(".choose-k");
  for (const choice of choices) {
    choice.addEventListener("change", () => {
      const k = choice.value;
      for (const other of choices) other.value = k;
      for (const value of all("[data-k]")) value.hidden = value.dataset.k !== k;
      for (const list of all("[role=tablist]")) {
        const curves = all("[role=tab][id$='--curves--tab']", list)[0];
        select((k !== "" && curves) || list.firstElementChild);
      }
      for (const at of all(".at")) at.textContent = k === "" ? at.dataset.own : `, K = ${k}`;
      for (const cell of all("th[data-column], td[data-label]")) {
        cell.classList.toggle("chosen", k !== "" && (cell.dataset.column ?? cell.dataset.label) === `K = ${k}`);
      }
    });
  }

  // What a cell holds: the value that is shown of several.
  const held = (cell) => (cell.querySelector("[data-k]") ? all("[data-k]", cell).find((value) => !value.hidden) : cell);
  const text = (cell) => { const found = held(cell); return found ? (found.dataset.text ?? found.textContent.trim()) : ""; };
  const number = (cell) => { const found = held(cell); return found && found.dataset.value !== undefined ? Number(found.dataset.value) : NaN; };

  // Sorting by a column: numbers by size, the largest first; names in alphabetic order. Empty cells stay last.
  for (const table of all("table.stacks")) {
    const heads = all("thead th", table);
    heads.forEach((head, column) => {
      head.tabIndex = 0;
      const sort = () => {
        const body = table.tBodies[0];
        const up = head.getAttribute("aria-sort") === "descending" || (column === 0 && head.getAttribute("aria-sort") !== "ascending");
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const sign = up ? 1 : -1;
        const key = (row) => { const cell = row.cells[column]; const value = number(cell); return Number.isNaN(value) ? text(cell) : value; };
        const rows = [...body.rows].map((row) => [key(row), row]);
        rows.sort(([a], [b]) => (a === "" || b === "" ? (a === "") - (b === "")
          : typeof a === "number" && typeof b === "number" ? sign * (a - b)
          : typeof a !== typeof b ? (typeof a === "string") - (typeof b === "string") : sign * a.localeCompare(b)));
        body.append(...rows.map(([, row]) => row));
        for (const row of body.rows) row.classList.remove("first-scripted");
      };
      head.addEventListener("click", sort);
      head.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); } });
    });
  }

  // Copying what is shown of a table.
  const escapes = { "&": "\\&", "%": "\\%", $: "\\$", "#": "\\#", _: "\\_", "{": "\\{", "}": "\\}", "\\": "\\textbackslash ", "±": "$\\pm$", "²": "$^2$", "†": "$^\\dagger$" };
  const formats = {
    LaTeX: (rows, about, notes) => {
      const line = (row) => `${row.map((cell) => cell.replace(/[&%$#_{}\\±²†]/g, (c) => escapes[c]).replace(/K = (\d+)/g, "$$K = $1$$")).join(" & ")} \\\\`;
      const below = `\n\\smallskip\\noindent{\\footnotesize ${line([[`${about}.`, ...notes].join(" ")]).slice(0, -3)}\\par}`;
      return [`\\begin{tabular}{l${"r".repeat(rows[0].length - 1)}}`, "\\toprule", line(rows[0]), "\\midrule", ...rows.slice(1).map(line), "\\bottomrule", "\\end{tabular}", below].join("\n");
    },
    CSV: (rows) => rows.map((row) => row.map((cell) => (/[",\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)).join(",")).join("\n"),
    Markdown: (rows, about, notes) => {
      const line = (row) => `| ${row.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
      return [line(rows[0]), line(rows[0].map(() => "---")), ...rows.slice(1).map(line), "", [`${about}.`, ...notes].join(" ")].join("\n");
    },
  };
  // What the marks and words in a text mean.
  const marks = (content) => all(".mark").map((said) => said.textContent)
    .filter((said) => content.toLowerCase().includes(said.split(":")[0].toLowerCase()));
  const write = async (content) => {
    try {
      await navigator.clipboard.writeText(content);
    } catch { // opened from a disk, some browsers allow only this
      const area = document.createElement("textarea");
      area.value = content;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  };
  // A button that writes what ``content`` gives when it is pressed.
  const copying = (name, content) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.addEventListener("click", async () => {
      await write(content());
      button.textContent = "copied";
      setTimeout(() => { button.textContent = name; }, 1200);
    });
    return button;
  };
  const suite = document.title.split(":")[0];
  for (const table of all("figure.item table")) {
    const bar = document.createElement("p");
    bar.className = "copy";
    bar.append("Copy as");
    for (const [name, format] of Object.entries(formats)) {
      bar.append(copying(name, () => {
        const rows = [...table.rows].filter((row) => !row.hidden);
        const at = (cell) => { const found = cell.querySelector(".at"); return found ? found.textContent : ""; };
        const head = [...rows[0].cells].map((cell) => cell.dataset.column ?? `${cell.firstChild.textContent.trim()}${at(cell)}`);
        const smalls = new Set(all("thead small", table).map((small) => small.textContent));
        const about = [`${suite}: ${table.parentElement.getAttribute("aria-label")}`, ...smalls].join("; ");
        const lines = rows.slice(1).map((row) => [...row.cells].map(text));
        return `${format([head, ...lines], about, marks(lines.flat().join()))}\n`;
      }));
    }
    table.parentElement.after(bar);
  }

  // A sentence, as it stands at the K that is chosen.
  for (const sentence of all(".verdicts li, p.verdict")) {
    const family = sentence.closest("[data-family]").dataset.family;
    const button = copying("copy", () => {
      const said = all("[data-k]", sentence).find((one) => !one.hidden).textContent.replaceAll("\u00a0", " ");
      return `${[`${suite}, ${family}: ${said}`, ...marks(said)].join(" ")}\n`;
    });
    button.className = "copy-sentence";
    button.setAttribute("aria-label", `Copy what is said of ${family}`);
    sentence.append(" ", button);
  }

  // Filters.
  for (const box of all(".by-policy")) {
    box.addEventListener("change", () => {
      for (const part of all("[data-policy]")) {
        if (part.dataset.policy !== box.value) continue;
        if (part instanceof SVGElement) part.classList.toggle("off", !box.checked);
        else part.hidden = !box.checked;
      }
    });
  }
  // A family is shown if both it and the split of its tasks are chosen.
  const families = all(".by-family"), splits = all(".by-split");
  const choose = () => {
    const out = splits.filter((box) => !box.checked).map((box) => box.value);
    for (const box of families) {
      const card = document.getElementById(box.value);
      card.hidden = !box.checked || out.includes(card.dataset.split);
      for (const link of all(`.verdicts a[href="#${box.value}"]`)) link.parentElement.hidden = card.hidden;
    }
  };
  for (const box of [...families, ...splits]) box.addEventListener("change", choose);
  const others = document.getElementById("other-actions");
  if (others) others.addEventListener("change", () => { for (const svg of all("figure svg")) svg.classList.toggle("without-other", !others.checked); });

  // The numbers of a point under the pointer or the finger.
  const tip = document.getElementById("tip");
  const hide = () => { tip.hidden = true; };
  const show = (event) => {
    const use = event.target.closest ? event.target.closest("svg use") : null;
    const title = use && use.querySelector("title");
    if (!title || !title.textContent) return hide();
    tip.textContent = title.textContent;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(6, Math.min(event.clientX + 12, innerWidth - box.width - 6))}px`;
    tip.style.top = `${event.clientY + 14 + box.height > innerHeight ? event.clientY - box.height - 12 : event.clientY + 14}px`;
  };
  document.addEventListener("pointermove", show);
  document.addEventListener("pointerdown", show);
  addEventListener("scroll", hide, { passive: true });

  open();
})();
