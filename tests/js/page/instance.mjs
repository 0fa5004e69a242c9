// A running page, in Node or in a browser.

/** Makes a page from a definition as `Page` does. Its values are copied, so no two pages share one. */
export function instantiate(definition) {
  const page = {};
  for (const [name, value] of Object.entries(definition)) {
    page[name] = typeof value === 'function' ? value : structuredClone(value);
  }
  page.setData = (change) => Object.assign(page.data, change);
  return page;
}
