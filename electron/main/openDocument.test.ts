import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { LabDocument } from '../../engine/lab/schema.ts';
import { OpenDocument } from './openDocument.ts';

const lab = (seed: number) => ({ seed }) as LabDocument;

it('is clean again when undo leads back to what was saved', () => {
  const saved = lab(1);
  const document = new OpenDocument(saved);
  expect(document.dirty).toBe(false);
  document.edit(lab(2), 'Change seed');
  expect([document.dirty, document.undoLabel, document.redoLabel]).toEqual([true, 'Change seed', null]);
  document.undo();
  expect([document.dirty, document.lab, document.redoLabel]).toEqual([false, saved, 'Change seed']);
  document.redo();
  expect(document.lab.seed).toBe(2);
  expect(document.undo() && document.undo()).toBe(false);
});

it('stays dirty for what came while it was being saved', () => {
  const document = new OpenDocument(lab(1));
  document.edit(lab(2), 'a');
  const written = document.lab;
  document.edit(lab(3), 'b');
  document.saved(written, true);
  expect(document.dirty).toBe(true);
  document.undo();
  expect(document.dirty).toBe(false);
});

it('does not undo results', () => {
  const document = new OpenDocument(lab(1));
  document.gotResult();
  expect([document.dirty, document.undoLabel]).toEqual([true, null]);
  document.saved(document.lab, true);
  expect(document.dirty).toBe(false);
});

it('undo and redo walk one line of labs, whatever the order (against a plain list)', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom('edit', 'undo', 'redo'), { maxLength: 150 }), (actions) => {
      const document = new OpenDocument(lab(0));
      const line = [0];
      let at = 0;
      actions.forEach((action, index) => {
        if (action === 'edit') {
          document.edit(lab(index + 1), 'x');
          line.splice(at + 1, line.length, index + 1);
          at += 1;
        } else if (action === 'undo') {
          expect(document.undo()).toBe(at > 0);
          at = Math.max(0, at - 1);
        } else {
          expect(document.redo()).toBe(at < line.length - 1);
          at = Math.min(line.length - 1, at + 1);
        }
        expect(document.lab.seed).toBe(line[at]);
      });
    }),
  );
});
