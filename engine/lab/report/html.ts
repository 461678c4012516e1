/**
 * HTML out of text that strangers wrote: a template tag that escapes whatever is put into it, so that only what stands in this program's
 * own source can be markup. Values in attributes stand in quotes, which are escaped, too. Characters that cannot be shown, or that turn
 * the reading direction of what follows (Unicode Annex 9), become U+FFFD.
 */
const MARKUP: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};
const UNSHOWN = /(?![\n\t])[\p{Cc}\p{Cs}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufffe\uffff]/gu;

/** Markup that is safe to show. */
export class Html {
  readonly markup: string;

  constructor(markup: string) {
    this.markup = markup;
  }
}

export type HtmlValue = string | number | Html | null | readonly HtmlValue[];

export function html(strings: TemplateStringsArray, ...values: readonly HtmlValue[]): Html {
  return new Html(strings.reduce((all, text, index) => all + markupOf(values[index - 1] ?? null) + text));
}

function markupOf(value: HtmlValue): string {
  if (value === null) return '';
  if (value instanceof Html) return value.markup;
  if (typeof value === 'string' || typeof value === 'number') return escaped(String(value));
  return value.map(markupOf).join('');
}

function escaped(text: string): string {
  return text.replace(UNSHOWN, '\ufffd').replace(/[&<>"']/g, (character) => MARKUP[character] ?? '');
}
