import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { commandLine } from './commandLine.ts';

it('is what a person would type', () => {
  expect(commandLine('first-run.iovalab', true)).toBe('iovalab run first-run.iovalab');
  expect(commandLine('My lab.iovalab', false)).toBe("npm run -s lab -- run 'My lab.iovalab'");
});

it('hands any name to the program as one word, and runs nothing else (attack: a lab named `$(...)`)', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string({ unit: 'grapheme-ascii', minLength: 1 }),
        fc.constantFrom("a'; touch /tmp/x; '", '$(id)', '`id`', '-rf', 'a\nb'),
      ),
      (name) => {
        const line = commandLine(name, true).replace(/^iovalab run /, '');
        const printed = execFileSync('sh', ['-c', `printf %s ${line}`], { encoding: 'utf8' });
        expect(printed.replace(/^\.\//, '')).toBe(name.replace(/^\.\//, ''));
      },
    ),
    { numRuns: 40 },
  );
});
