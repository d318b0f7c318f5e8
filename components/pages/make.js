"use strict";
// An element with a text, as text and never as markup, and a class. For the scripts after it.
const make = (tag, text = "", kind = "") => {
  const element = document.createElement(tag);
  if (text) element.textContent = text;
  if (kind) element.className = kind;
  return element;
};
