/** Text of strangers in a page: nothing of it is markup, whatever it says (HTML standard 13.1.2, 13.1.4). */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Html, html } from './html.ts';

const UNESCAPED: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', '#39': "'" };

function read(markup: string): string {
  return markup.replace(/&([^;]+);/g, (_, name: string) => UNESCAPED[name] ?? '?');
}

describe('a page out of text', () => {
  it('shows any text as it is and lets none of it be markup', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const { markup } = html`${text}`;
        expect(markup).not.toMatch(/[<>"']/);
        const shown = text.replace(
          /[^\n\t\P{Cc}]|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufffe\uffff]/gu,
          '\ufffd',
        );
        expect(read(markup)).toBe(shown);
      }),
      { seed: 7, numRuns: 2000 },
    );
  });

  it('shows half a surrogate pair and a turned reading direction as the replacement character', () => {
    expect(html`${'a\ud800b\u202ec\u0000'}`.markup).toBe('a\ufffdb\ufffdc\ufffd');
  });

  it('keeps markup of its own, lists, numbers and nothing at all', () => {
    const items = ['<a>', new Html('<b>'), 3, null].map((item) => html`<i>${item}</i>`);
    expect(html`<p title="${'"'}">${items}</p>`.markup).toBe(
      '<p title="&quot;"><i>&lt;a&gt;</i><i><b></i><i>3</i><i></i></p>',
    );
  });
});
