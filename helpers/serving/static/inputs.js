// Controls for models that take something else than a row of features: pictures, texts, arrays in JSON.
// `addInput` of a page puts one into the form; `value()` is what a request holds, or a File.
"use strict";

function inputControl(input) {
  if (input.kind === "image") return pictureControl(input);
  const is_text = input.kind === "text";
  const is_one = is_text || !input.shape.length || (input.shape.length === 1 && input.shape[0] === 1);
  if (input.values && is_one) return menuControl(input);
  const value = is_text ? input.example : input.example === null ? "" : JSON.stringify(input.example);
  const area = document.createElement("textarea");
  const rows = is_text ? 3 : value === "" ? 8 : Math.min(8, Math.ceil(value.length / 60));
  Object.assign(area, { name: input.name, rows, value, spellcheck: is_text });
  const hint = is_text ? "" : is_one ? "number" : `array of ${input.shape.map((size) => size ?? "any length").join(" x ")}`;
  if (!is_text) area.placeholder = `JSON: ${hint}`;
  return { input: area, parts: [area], hint,
    value: () => (is_text ? area.value : JSON.parse(area.value)) };
}

// The only texts or numbers that the model knows.
function menuControl(input) {
  const menu = document.createElement("select");
  menu.name = input.name;
  menu.append(...input.values.map((value) => new Option(value, value)));
  return { input: menu, parts: [menu], hint: "", value: () => input.values[menu.selectedIndex] };
}

// A picture is chosen, dropped on the field, or taken with the camera, which phones offer beside their files.
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
  place.append(words, chooser, shown);
  let file = null;
  function take(chosen) {
    if (!chosen) return;
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
    const before = new DataTransfer(); // the dialog was left without a choice: what is shown stays chosen
    before.items.add(file);
    chooser.files = before.files;
  });
  chooser.addEventListener("input", (event) => event.stopPropagation()); // `take` says it
  place.addEventListener("dragover", (event) => { event.preventDefault(); place.classList.add("over"); });
  place.addEventListener("dragleave", () => place.classList.remove("over"));
  place.addEventListener("drop", (event) => {
    event.preventDefault();
    place.classList.remove("over");
    if (!event.dataTransfer.files.length) return;
    chooser.files = event.dataTransfer.files; // so that it shows the name
    take(chooser.files[0]);
  });
  for (const kind of ["dragover", "drop"]) { // beside the field a file would take the page's place
    window.addEventListener(kind, (event) => event.preventDefault());
  }
  return { input: chooser, parts: [place], hint: "", value: () => file };
}
