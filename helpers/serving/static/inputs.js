// Controls for models that take something else than a row of features: pictures, texts, arrays in JSON.
// `addControl` of a page puts one into the form; `value()` is what a request holds, or a File.
"use strict";

function inputControl(input) {
  if (input.kind === "image") return pictureControl(input);
  const is_text = input.kind === "text";
  if (typeof input.example === "boolean") return switchControl(input);
  const is_one = is_text || !input.shape.length || (input.shape.length === 1 && input.shape[0] === 1);
  if (input.values && is_one) return menuControl(input);
  if (input.known.length && is_text) return suggested(textControl(input), input);
  if (is_one && typeof input.example === "number") {
    const control = numberControl({ ...input, needed: true });
    return suggested({ ...control, value: () => asTyped(control.value(), Number(control.input.value)) }, input);
  }
  const value = is_text ? input.example : input.example === null ? "" : JSON.stringify(input.example);
  const area = document.createElement("textarea");
  const rows = is_text ? 3 : value === "" ? 8 : Math.min(8, Math.ceil(value.length / 60));
  Object.assign(area, { name: input.name, rows, value, spellcheck: is_text });
  const sizes = input.shape.map((size) => size ?? "any length").join(" x ");
  const one = typeof input.example === "boolean" ? "true or false" : "one value";
  const each = input.usual ? `, usually ${input.usual}` : input.kind === "texts" ? ", of texts" : "";
  const hint = is_text ? "" : is_one ? one : `array of ${sizes}${each}`;
  if (!is_text) area.placeholder = `JSON: ${hint}`;
  return { input: area, parts: [area], hint,
    value: () => (is_text ? area.value : asTyped(area.value, JSON.parse(area.value))) };
}

// A value as a request holds it. JavaScript rounds whole numbers beyond 2**53, ids for example: then it is the text, which
// the service reads itself.
function asTyped(text, value) {
  return /\d{16}/.test(text) ? text : value;
}

function textControl(input) {
  const text = document.createElement("input");
  Object.assign(text, { type: "text", name: input.name, value: input.example, autocomplete: "off" });
  return { input: text, parts: [text], hint: "", value: () => text.value, kind: "real" };
}

// Proposes the texts or numbers that the model tells apart from any other.
function suggested(control, input) {
  if (!input.known.length) return control;
  const list = document.createElement("datalist");
  list.id = `known-${input.name}`;
  list.append(...input.known.map((value) => new Option(value, value)));
  control.input.setAttribute("list", list.id);
  control.parts.push(list);
  return control;
}

function switchControl(input) {
  const box = switchOf(input.name, input.example);
  return { input: box, parts: [box], hint: "", value: () => box.checked, kind: "binary", tag: "label" };
}

// The only texts or numbers that the model knows.
function menuControl(input) {
  const menu = document.createElement("select");
  menu.name = input.name;
  menu.append(...input.values.map((value) => new Option(value, value)));
  return { input: menu, parts: [menu], hint: "", value: () => input.values[menu.selectedIndex] };
}

// A picture is chosen, dropped on the field, or taken with the camera.
function pictureControl(input) {
  const chooser = document.createElement("input");
  Object.assign(chooser, { type: "file", accept: "image/*", name: input.name });
  const shown = document.createElement("img");
  shown.alt = "";
  shown.hidden = true;
  const words = document.createElement("span");
  words.textContent = "Drop a picture here, or choose one";
  const place = document.createElement("div");
  place.className = "drop";
  const camera = cameraControl((taken) => { choose(taken); take(taken); });
  place.append(words, chooser, ...camera.parts, shown);
  let file = null;
  function choose(chosen) { // so that the chooser shows its name
    const files = new DataTransfer();
    files.items.add(chosen);
    chooser.files = files.files;
  }
  function take(chosen) {
    if (!chosen) return;
    camera.stop();
    file = chosen;
    if (shown.src) URL.revokeObjectURL(shown.src);
    shown.src = URL.createObjectURL(file);
    place.dispatchEvent(new Event("input", { bubbles: true }));
  }
  shown.addEventListener("load", () => {
    shown.hidden = false;
    shown.classList.toggle("small", shown.naturalWidth < 96);
  });
  shown.addEventListener("error", () => { shown.hidden = true; }); // no picture, which the service says
  chooser.addEventListener("change", () => {
    if (chooser.files.length || !file) return take(chooser.files[0]);
    choose(file); // the dialog was left without a choice: what is shown stays chosen
  });
  chooser.addEventListener("input", (event) => event.stopPropagation()); // `take` says it
  place.addEventListener("dragover", (event) => { event.preventDefault(); place.classList.add("over"); });
  place.addEventListener("dragleave", () => place.classList.remove("over"));
  place.addEventListener("drop", (event) => {
    event.preventDefault();
    place.classList.remove("over");
    if (!event.dataTransfer.files.length) return;
    choose(event.dataTransfer.files[0]);
    take(chooser.files[0]);
  });
  for (const kind of ["dragover", "drop"]) { // beside the field a file would take the page's place
    window.addEventListener(kind, (event) => event.preventDefault());
  }
  return { input: chooser, parts: [place], hint: "", value: () => file };
}

// A button that shows what the camera sees, and takes a picture of it. It is there where the browser lends the page a
// camera: one of this machine, or over https.
function cameraControl(take) {
  const button = document.createElement("button");
  const seen = document.createElement("video");
  const problem = document.createElement("span");
  const idle = "Use the camera";
  Object.assign(button, { type: "button", textContent: idle, hidden: true });
  Object.assign(seen, { muted: true, playsInline: true, autoplay: true, hidden: true });
  problem.setAttribute("role", "status");
  let stream = null;
  function stop() {
    for (const track of stream?.getTracks() ?? []) track.stop(); // the camera's light goes out
    stream = seen.srcObject = null;
    seen.hidden = true;
    button.textContent = idle;
    problem.textContent = "";
  }
  async function start() {
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch (error) {
      const why = error.name === "NotAllowedError" ? "the browser was told not to lend it" : error.message || error.name;
      problem.textContent = `No picture from the camera: ${why}.`;
      return;
    }
    seen.srcObject = stream;
    seen.hidden = false;
    await seen.play();
    button.textContent = "Take the picture";
  }
  function shoot() {
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width: seen.videoWidth, height: seen.videoHeight });
    canvas.getContext("2d").drawImage(seen, 0, 0);
    canvas.toBlob((blob) => take(new File([blob], "camera.jpg", { type: blob.type })), "image/jpeg", 0.95);
  }
  button.addEventListener("click", async () => {
    button.disabled = true; // a second click while the browser asks
    await (stream ? shoot() : start());
    button.disabled = false;
  });
  navigator.mediaDevices?.enumerateDevices().then((devices) => {
    button.hidden = !devices.some((device) => device.kind === "videoinput");
  });
  return { parts: [button, seen, problem], stop };
}
