"use strict";
// The page of the lab's service. Nothing of it comes from elsewhere; `?api=URL` says where the service is, when it is not
// where the page came from.
(() => {
  const $ = (id) => document.getElementById(id);
  const kEvents = 500;  // lines that are shown

  const api = (() => {
    const given = new URLSearchParams(location.search).get("api");
    try {
      const url = new URL(given ?? location.origin);
      if (url.protocol === "http:" || url.protocol === "https:") return (url.origin + url.pathname).replace(/\/+$/, "");
    } catch { /* said below */ }
    return null;
  })();

  function complain(text) {
    $("problem").textContent = text;
    $("problem").hidden = text === "";
  }

  function detailOf(answer, status) {
    if (typeof answer?.detail === "string") return answer.detail;
    if (Array.isArray(answer?.detail)) return answer.detail.map((one) => `${one.loc.join(".")}: ${one.msg}`).join("; ");
    return `status ${status}`;
  }

  async function call(method, path, body) {
    const options = { method };
    if (body !== undefined) {
      options.headers = { "Content-Type": "application/json" };
      options.body = JSON.stringify(body);
    }
    let response;
    try {
      response = await fetch(api + path, options);
    } catch {
      throw new Error(`The lab at ${api} does not answer. Is it running, and does it allow this page? ` +
                      `cloister lab serve --allow-origin ${location.origin}`);
    }
    const answer = await response.json().catch(() => null);
    if (!response.ok) throw new Error(detailOf(answer, response.status));
    return answer;
  }

  /// Runs what a button is for: one run at a time, and what went wrong is said.
  function onClick(button, work) {
    button.addEventListener("click", async () => {
      button.disabled = true;
      complain("");
      try {
        await work();
      } catch (error) {
        complain(error.message);
      } finally {
        button.disabled = false;
      }
    });
  }

  function element(name, text, className) {
    const out = document.createElement(name);
    if (text !== undefined) out.textContent = text;
    if (className) out.className = className;
    return out;
  }
  const pretty = (value) => JSON.stringify(value, null, 2);

  // --- the two buttons ---

  onClick($("search"), async () => {
    const answer = await call("POST", "/enclave/compute", {
      enclave_name: "dashboard", workload: "keyword_search",
      payload: { documents: ["alpha beta", "alpha gamma"], keyword: "alpha" },
    });
    $("search-mrenclave").textContent = answer.mrenclave;
    $("search-result").textContent = pretty(answer.result);
  });

  onClick($("launch"), async () => {
    const launched = await call("POST", "/vm/launch", { owner: "dashboard" });
    $("vm-id").textContent = launched.vm_id;
    $("vm-measurement").textContent = launched.measurement;
    const report = await call("POST", `/vm/attest?vm_id=${encodeURIComponent(launched.vm_id)}`);
    $("vm-report").textContent = pretty(report);
  });

  // --- lists ---

  function cell(text, className) {
    const out = element("td", text, className);
    if (className?.includes("short")) out.title = text;
    return out;
  }

  function actions(name, list) {
    const out = element("td", undefined, "actions");
    for (const [label, work] of list) {
      const button = element("button", label);
      button.type = "button";
      button.setAttribute("aria-label", `${label} ${name}`);
      onClick(button, work);
      out.append(button);
    }
    return out;
  }

  function show(table, empty, rows) {
    const body = $(table).tBodies[0];
    const focused = body.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
    body.replaceChildren(...rows);
    $(table).hidden = rows.length === 0;
    $(empty).hidden = rows.length > 0;
    if (focused) [...body.querySelectorAll("button")].find((one) => one.getAttribute("aria-label") === focused)?.focus();
  }

  function enclaveRow(one) {
    const row = element("tr");
    const path = `/enclaves/${encodeURIComponent(one.enclave_name)}`;
    const list = [];
    if (one.steps_left > 0) list.push(["Step", () => call("POST", `${path}/step`)]);
    if (one.state === "initialized" && one.steps_left === 0) list.push(["Quote", () => call("GET", `${path}/quote`)]);
    if (one.state !== "stopped") list.push(["Stop", () => call("POST", `${path}/stop`)]);
    list.push(["Delete", () => call("DELETE", path)]);
    row.append(cell(one.enclave_name, "short"), cell(one.state), cell(String(one.calls), "mono"), cell(one.mrenclave, "mono short"),
               actions(one.enclave_name, list));
    return row;
  }

  function vmRow(one) {
    const row = element("tr");
    const path = `/vms/${encodeURIComponent(one.vm_id)}`;
    const list = [];
    if (one.steps_left > 0) list.push(["Step", () => call("POST", `${path}/step`)]);
    if (one.state === "running") list.push(["Report", () => call("GET", `${path}/report`)]);
    if (one.state !== "stopped") list.push(["Stop", () => call("POST", `${path}/stop`)]);
    list.push(["Delete", () => call("DELETE", path)]);
    row.append(cell(one.vm_id, "mono"), cell(one.owner, "short"), cell(one.state), cell(String(one.pages), "mono"), cell(one.measurement, "mono short"),
               actions(one.vm_id, list));
    return row;
  }

  // --- evidence: bytes beside fields ---

  let evidence = null;  // what is shown
  let chosen = -1;

  function choose(index, scroll) {
    if (index === chosen) return;
    for (const one of document.querySelectorAll(".chosen[data-field]")) one.classList.remove("chosen");
    chosen = index;
    if (index < 0) return;
    const parts = document.querySelectorAll(`[data-field="${index}"]`);
    for (const one of parts) one.classList.add("chosen");
    if (scroll) reveal($("hex"), $("hex").querySelector(`[data-field="${index}"]`));
  }

  /// Scrolls the box alone, never the page.
  function reveal(box, inside) {
    if (!inside) return;
    const outer = box.getBoundingClientRect();
    const inner = inside.getBoundingClientRect();
    if (inner.top < outer.top + 28 || inner.bottom > outer.bottom) box.scrollTop += inner.top - outer.top - outer.height / 3;
  }

  function hexLines(bytes, map) {
    const owner = new Int32Array(bytes.length);
    map.fields.forEach((field, index) => owner.fill(index, field.offset, field.offset + field.size));
    const lines = [];
    for (let at = 0; at < bytes.length; at += 16) {
      const line = element("div");
      line.append(element("span", at.toString(16).padStart(4, "0") + "  ", "at"));
      const end = Math.min(at + 16, bytes.length);
      for (const text of [(b) => b.toString(16).padStart(2, "0"), (b) => (b > 0x20 && b < 0x7f ? String.fromCharCode(b) : "·")]) {
        const hex = text(0).length === 2;
        for (let i = at; i < end;) {
          let stop = i + 1;
          while (stop < end && owner[stop] === owner[i] && (stop < map.signed_size) === (i < map.signed_size)) ++stop;
          const run = element("span", [...bytes.subarray(i, stop)].map(text).join(hex ? " " : ""), "run");
          run.dataset.field = String(owner[i]);
          if (owner[i] % 2 === 1) run.classList.add("odd");
          if (i < map.signed_size) run.classList.add("signed");
          line.append(run);
          if (hex && stop < end) line.append(" ");
          i = stop;
        }
        if (hex) line.append(" ".repeat(3 * (at + 16 - end) + 2));
      }
      lines.push(line);
    }
    return lines;
  }

  function fieldGroups(map) {
    const bodies = [];
    let group = null;
    map.fields.forEach((field, index) => {
      const dot = field.name.lastIndexOf(".");
      const part = dot < 0 ? "" : field.name.slice(0, dot);
      if (part !== group) {
        group = part;
        const body = element("tbody");
        const heading = element("tr");
        const name = element("th", part === "" ? map.format : part);
        name.colSpan = 4;
        name.scope = "rowgroup";
        heading.append(name);
        body.append(heading);
        bodies.push(body);
      }
      const row = element("tr");
      row.dataset.field = String(index);
      row.tabIndex = index === 0 ? 0 : -1;
      row.append(element("td", field.name.slice(dot + 1)), element("td", "0x" + field.offset.toString(16), "mono"), element("td", String(field.size), "mono"),
                 element("td", field.value, "mono"));
      bodies.at(-1).append(row);
    });
    return bodies;
  }

  function showEvidence(answer) {
    evidence = answer;
    const bytes = Uint8Array.from(atob(answer.evidence), (c) => c.charCodeAt(0));
    $("evidence-what").className = "";
    $("evidence-what").textContent = `${answer.map.format} of ${answer.tee === "sgx" ? "the enclave" : "the VM"} ${answer.subject}, ${bytes.length} bytes`;
    chosen = -1;
    $("hex").replaceChildren(...hexLines(bytes, answer.map));
    for (const old of [...$("fields").tBodies]) old.remove();
    $("fields").append(...fieldGroups(answer.map));
    for (const id of ["evidence", "verify", "legend"]) $(id).hidden = false;
    $("verdict").textContent = "";
  }

  for (const box of [$("hex"), $("fields")]) {
    box.addEventListener("mouseover", (event) => {
      const part = event.target.closest("[data-field]");
      if (!part) return;
      choose(Number(part.dataset.field), box.id === "fields");
      if (box.id === "hex") reveal($("fields").parentElement, $("fields").querySelector(`[data-field="${part.dataset.field}"]`));
    });
  }
  $("fields").addEventListener("focusin", (event) => {
    const row = event.target.closest("tr[data-field]");
    if (row) choose(Number(row.dataset.field), true);
  });
  $("fields").addEventListener("keydown", (event) => {
    const rows = [...$("fields").querySelectorAll("tr[data-field]")];
    const at = rows.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[event.key];
    if (at < 0 || to === undefined || !rows[to]) return;
    event.preventDefault();
    rows[at].tabIndex = -1;
    rows[to].tabIndex = 0;
    rows[to].focus();
  });

  onClick($("verify"), async () => {
    const answer = await call("POST", "/verify", { evidence: evidence.evidence });
    const passed = answer.checks.filter((one) => one.result === "pass").length;
    const failed = answer.checks.find((one) => one.result === "fail");
    $("verdict").className = answer.verdict === "accepted" ? "good" : "bad";
    $("verdict").textContent = answer.verdict === "accepted" ? `accepted under the lab's root: ${passed} checks hold`
                                                             : `rejected: ${failed ? failed.id : answer.error?.code ?? "see the answer"}`;
  });

  // --- what changed is fetched again ---

  let wanted = false;
  let evidenceWanted = false;
  let fetching = false;
  /// At most ten times a second, and once more after the last wish.
  async function refresh() {
    wanted = true;
    if (fetching) return;
    fetching = true;
    try {
      while (wanted) {
        wanted = false;
        const newer = evidenceWanted;
        evidenceWanted = false;
        const [enclaves, vms] = await Promise.all([call("GET", "/enclaves"), call("GET", "/vms")]);
        show("enclaves", "no-enclaves", enclaves.enclaves.map(enclaveRow));
        show("vms", "no-vms", vms.vms.map(vmRow));
        if (newer) showEvidence(await call("GET", "/evidence/last"));
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    } catch (error) {
      complain(error.message);
    } finally {
      fetching = false;
    }
  }

  // --- events ---

  let last = 0;      // the number of the newest event
  const lines = [];  // {first, last, count, event}, newest first
  const fieldsOf = (event) => Object.entries(event.fields).map(([name, value]) => `${name}=${typeof value === "object" ? JSON.stringify(value) : value}`).join("  ");

  function take(event) {
    last = event.seq;
    const top = lines[0];
    if (top && top.event.event === event.event && top.event.subject === event.subject && event.event === "EEXTEND") {
      top.count += 1;
      top.event = event;
    } else {
      lines.unshift({ first: event.seq, count: 1, event });
      lines.length = Math.min(lines.length, kEvents);
    }
  }

  let drawn = false;
  function draw() {
    if (drawn || $("pause").checked) return;
    drawn = true;
    requestAnimationFrame(() => {
      drawn = false;
      const filter = $("filter").value.toLowerCase();
      const rows = [];
      for (const { first, count, event } of lines) {
        const texts = event.gap ? [`${first}`, "", "", "", "gap", event.gap]
          : [count > 1 ? `${first}–${event.seq}` : String(first), event.time.slice(11, 23), event.machine, event.subject,
             count > 1 ? `${event.event} ×${count}` : event.event, fieldsOf(event)];
        if (filter && !texts.join(" ").toLowerCase().includes(filter)) continue;
        const row = element("tr");
        row.append(...texts.map((text, i) => cell(text, i === 0 || i === 5 ? "mono" : undefined)));
        rows.push(row);
      }
      $("events").tBodies[0].replaceChildren(...rows);
      $("count").textContent = lines.length === 0 ? "None yet." : `${rows.length} of ${lines.length} lines, up to event ${last}`;
    });
  }
  $("pause").addEventListener("change", draw);
  $("filter").addEventListener("input", draw);

  let patience = 500;
  function listen() {
    const socket = new WebSocket(`${api.replace(/^http/, "ws")}/events/stream?since=${last}`);
    socket.addEventListener("open", () => {
      patience = 500;
      $("link").textContent = "live";
      $("link").classList.add("live");
      complain("");
      refresh();
    });
    socket.addEventListener("message", (message) => {
      const event = JSON.parse(message.data);
      if (event.gap) {
        lines.unshift({ first: event.gap.from, count: 1, event: { gap: `events ${event.gap.from} to ${event.gap.to} are not kept any longer`, seq: event.gap.to } });
        last = event.gap.to;
      } else {
        take(event);
        if (event.event === "QUOTE" || event.event === "MSG_REPORT_REQ") evidenceWanted = true;
      }
      draw();
      refresh();
    });
    socket.addEventListener("close", () => {
      $("link").textContent = "not connected";
      $("link").classList.remove("live");
      setTimeout(() => { if (!document.hidden || patience < 4000) listen(); else document.addEventListener("visibilitychange", listen, { once: true }); }, patience);
      patience = Math.min(patience * 2, 8000);
    });
  }

  if (api === null) {
    complain("Where is the lab? Open this page with ?api=http://127.0.0.1:8000");
    $("link").textContent = "not connected";
    return;
  }
  $("api").textContent = api;
  $("openapi").href = `${api}/openapi.json`;
  draw();
  refresh();
  listen();
})();
