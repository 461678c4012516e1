import { mkdtemp, readFile, readdir, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseLab } from '../../engine/lab/check.ts';
import { decodeLabFile, encodeLabFile } from '../../engine/lab/container.ts';
import { withValueAt } from '../../engine/lab/documentPath.ts';
import type { LabDialogs } from './dialogs.ts';
import { DocumentService } from './documentService.ts';
import { RunService } from './runService.ts';
import { defaultSettings, type Settings } from './settings.ts';
import { labFile, resultOf, ScriptedThread, smallLab, tasksInPlace } from './testing.ts';

async function rig(folder?: string) {
  const home = folder ?? (await mkdtemp(join(tmpdir(), 'document-')));
  const questions: string[] = [];
  const answers: {
    unsaved: 'save' | 'discard' | 'cancel';
    disk: 'overwrite' | 'saveAs' | 'cancel';
    target: string | null;
  } = {
    unsaved: 'cancel',
    disk: 'cancel',
    target: null,
  };
  const asked = <Answer>(question: string, answer: Answer): Promise<Answer> => {
    questions.push(question);
    return Promise.resolve(answer);
  };
  const dialogs: LabDialogs = {
    chooseLab: (path) => asked(`open ${path}`, answers.target),
    chooseTarget: ({ path }) => asked(`save ${path}`, answers.target),
    chooseFolder: () => asked('folder', null),
    askUnsaved: (name) => asked(`unsaved ${name}`, answers.unsaved),
    askChangedOnDisk: (name) => asked(`disk ${name}`, answers.disk),
    askOverwrite: (name) => asked(`overwrite ${name}`, true),
    askRevert: (name) => asked(`revert ${name}`, true),
  };
  let settings: Settings = defaultSettings;
  const said: string[] = [];
  const threads: ScriptedThread[] = [];
  let changes = 0;
  const runs: RunService = new RunService({
    startThread: () => {
      const thread = new ScriptedThread();
      threads.push(thread);
      return thread;
    },
    stateChanged: () => undefined,
    framed: () => undefined,
    finished: (result) => void service.keepResult(result),
    log: () => undefined,
  });
  let diskChanged: () => void = () => undefined;
  const service: DocumentService = new DocumentService({
    task: tasksInPlace,
    dialogs,
    runs,
    settings: {
      get current() {
        return settings;
      },
      change: (next) => {
        settings = { ...settings, ...next };
      },
      flush: () => Promise.resolve(),
    },
    recoveryFolder: join(home, 'recovery'),
    homeFolder: home,
    applyEdit: (lab, changes) =>
      parseLab(
        changes.reduce<unknown>((next, { path, value }) => withValueAt(next, path, value), lab),
        '',
      ),
    watch: (_path, changed) => {
      diskChanged = changed;
      return () => undefined;
    },
    changed: () => {
      changes += 1;
    },
    say: (_severity, text) => said.push(text),
    log: () => undefined,
  });
  async function put(name: string, lab = smallLab(), results: Parameters<typeof labFile>[1] = []): Promise<string> {
    const path = join(home, name);
    await writeFile(path, await encodeLabFile(labFile(lab, results)));
    return path;
  }
  const touchedOnDisk = async () => {
    diskChanged();
    await service.flush();
  };
  return {
    home,
    service,
    runs,
    threads,
    questions,
    answers,
    said,
    put,
    touchedOnDisk,
    settings: () => settings,
    changes: () => changes,
  };
}

const done = { status: 'done' };
const cancelled = { status: 'cancelled' };

describe('opening', () => {
  it('opens a file and remembers it', async () => {
    const { service, put, settings, home } = await rig();
    const path = await put('a.iovalab');
    expect(await service.openPath(path)).toEqual(done);
    expect(service.state()).toMatchObject({ session: 1, fileName: 'a.iovalab', dirty: false, undo: null });
    expect(settings()).toMatchObject({ recent: [path], lastFolder: home });
  });

  it('leaves the open document untouched when another cannot be opened, and says why', async () => {
    const { service, put, home } = await rig();
    await service.openPath(await put('a.iovalab'));
    await service.edit([{ path: 'seed', value: 5 }]);
    const before = service.state();
    await writeFile(join(home, 'zip.iovalab'), 'this is no zip');
    const whole = await readFile(await put('cut.iovalab'));
    await writeFile(join(home, 'cut.iovalab'), whole.subarray(0, whole.length / 2));
    for (const name of ['zip.iovalab', 'cut.iovalab', 'none.iovalab', 'a.txt']) {
      const outcome = await service.openPath(join(home, name));
      expect(outcome).toMatchObject({ status: 'failed' });
      const message = outcome.status === 'failed' ? outcome.error.message : '';
      expect(message).toContain(name);
      expect(message).not.toContain(home);
    }
    expect(service.state()).toEqual(before);
  });

  it('asks before unsaved work goes: cancel stays, discard goes, save saves first', async () => {
    const { service, put, answers, questions } = await rig();
    const first = await put('a.iovalab');
    const second = await put('b.iovalab', smallLab('Second'));
    await service.openPath(first);
    await service.edit([{ path: 'seed', value: 5 }]);
    expect(await service.openPath(second)).toEqual(cancelled);
    expect(service.state().lab.seed).toBe(5);
    answers.unsaved = 'save';
    expect(await service.openPath(second)).toEqual(done);
    expect((await decodeLabFile(await readFile(first), 'a')).lab.seed).toBe(5);
    await service.edit([{ path: 'seed', value: 6 }]);
    answers.unsaved = 'discard';
    expect(await service.openPath(first)).toEqual(done);
    expect(questions).toEqual(['unsaved a', 'unsaved a', 'unsaved b']);
  });
});

describe('editing', () => {
  it('refuses what does not fit and leaves everything as it was', async () => {
    const { service, put } = await rig();
    await service.openPath(await put('a.iovalab'));
    const before = service.state();
    for (const [path, value] of [
      ['seed', -1],
      ['seed', 'x'],
      ['nothing', 1],
      ['workloads[none].blockSize', 4096],
      ['__proto__.polluted', true],
      ['workloads[0].device', 'missing'],
      ['', 1],
      ['notes', { toString: 1 }],
    ] as const) {
      const outcome = await service.edit([{ path, value }]);
      expect(outcome, path).toMatchObject({ status: 'failed', error: { code: 'bad-edit' } });
    }
    expect(service.state()).toEqual(before);
  });

  it('undoes and redoes, and an edit that changes nothing is none', async () => {
    const { service, put } = await rig();
    await service.openPath(await put('a.iovalab'));
    const { seed } = service.state().lab;
    await service.edit([{ path: 'seed', value: seed }]);
    expect(service.state().undo).toBeNull();
    await service.edit([{ path: 'workloads[workload0].queueDepth', value: 4 }]);
    expect(service.state()).toMatchObject({ dirty: true, undo: 'Change workloads[workload0].queueDepth' });
    await service.undo();
    expect(service.state()).toMatchObject({ dirty: false, undo: null });
    await service.redo();
    expect(service.state().lab.workloads[0]).toMatchObject({ queueDepth: 4 });
    expect(await service.redo()).toEqual(cancelled);
  });

  it('makes several changes at once, in order, and undoes them as one; where one does not fit none is made', async () => {
    const { service, put } = await rig();
    await service.openPath(await put('a.iovalab'));
    const before = service.state().lab;
    const both = [
      { path: 'workloads[workload0].queueDepth', value: 4 },
      { path: 'costs.overrides', value: { tableRead: 130 } },
    ];
    expect(await service.edit([...both, { path: 'seed', value: -1 }])).toMatchObject({ status: 'failed' });
    expect(service.state().lab).toEqual(before);
    expect(await service.edit(both)).toEqual(done);
    expect(service.state().lab).toMatchObject({
      workloads: [{ queueDepth: 4 }],
      costs: { overrides: { tableRead: 130 } },
    });
    expect(service.state().undo).toBe('Change workloads[workload0].queueDepth, costs.overrides');
    await service.undo();
    expect(service.state().lab).toEqual(before);
  });
});

describe('saving', () => {
  it('asks for a name for a copy of an example, and suggests one', async () => {
    const { service, put, answers, questions, home } = await rig();
    await service.openCopy(await put('example.iovalab', smallLab('Strict: what does it cost?')));
    expect(service.state()).toMatchObject({ fileName: null, dirty: false });
    answers.target = join(home, 'mine');
    expect(await service.save()).toEqual(done);
    expect(questions).toEqual([`save ${join(home, 'Strict what does it cost.iovalab')}`]);
    expect(service.state()).toMatchObject({ fileName: 'mine.iovalab', dirty: false });
  });

  it('keeps results of runs in the file', async () => {
    const { service, put, runs, threads } = await rig();
    const lab = smallLab();
    const path = await put('a.iovalab', lab);
    await service.openPath(path);
    runs.start(['map-sg-strict']);
    const result = resultOf(lab, 'map-sg-strict');
    threads[0]!.report({ kind: 'ended', result, frame: { comparisonId: 'map-sg-strict' } as never });
    await service.flush();
    expect(service.dirty).toBe(true);
    expect(await service.save()).toEqual(done);
    expect(service.dirty).toBe(false);
    const saved = await decodeLabFile(await readFile(path), 'a');
    expect([...saved.runs.keys()]).toEqual([result.id]);
    await service.revert();
    expect(service.state().runs[0]).toMatchObject({ status: 'done', outdated: false, summary: result.summary });
  });

  it('asks when another program changed the file', async () => {
    const { service, put, answers, questions, touchedOnDisk, said } = await rig();
    const path = await put('a.iovalab');
    await service.openPath(path);
    await service.edit([{ path: 'seed', value: 5 }]);
    await utimes(path, 1, 1);
    await touchedOnDisk();
    expect(service.state().changedOnDisk).toBe(true);
    expect(said.join()).toContain('changed or removed');
    expect(await service.save()).toEqual(cancelled);
    answers.disk = 'overwrite';
    expect(await service.save()).toEqual(done);
    expect(questions).toEqual(['disk a.iovalab', 'disk a.iovalab']);
    expect(service.state()).toMatchObject({ changedOnDisk: false, dirty: false });
  });

  it('stays dirty when the file cannot be written', async () => {
    const { service, put, answers } = await rig();
    await service.openPath(await put('a.iovalab'));
    await service.edit([{ path: 'seed', value: 5 }]);
    answers.target = '/proc/none/a.iovalab';
    expect(await service.saveAs()).toMatchObject({ status: 'failed' });
    expect(service.state()).toMatchObject({ dirty: true, fileName: 'a.iovalab' });
  });
});

describe('after a crash', () => {
  it('brings back edits, undo and results, on top of what was saved', async () => {
    const crashed = await rig();
    const path = await crashed.put('a.iovalab');
    await crashed.service.openPath(path);
    await crashed.service.edit([
      { path: 'seed', value: 5 },
      { path: 'costs.overrides', value: { tableRead: 130 } },
    ]);
    await crashed.service.edit([{ path: 'notes', value: 'first' }]);
    await crashed.service.edit([{ path: 'notes', value: 'second' }]);
    await crashed.service.undo();
    const { lab } = crashed.service.state();
    crashed.runs.start(['two-step-strict']);
    const result = resultOf(lab, 'two-step-strict');
    crashed.threads[0]!.report({ kind: 'ended', result, frame: { comparisonId: 'two-step-strict' } as never });
    await crashed.service.flush();
    expect((await decodeLabFile(await readFile(path), 'a')).lab.notes).toBeUndefined();

    // The same folders, another process: nothing of the first one was closed.
    const next = await rig(crashed.home);
    await next.service.openPath(path);
    const [offer] = await next.service.recoveries();
    expect(offer).toMatchObject({ name: 'a', fileName: 'a.iovalab', edits: 4, finishedRuns: 1 });
    expect(await next.service.restore(offer!.id)).toEqual(done);
    expect(next.service.state()).toMatchObject({ dirty: true, fileName: 'a.iovalab', redo: 'Change notes' });
    expect(next.service.state().lab).toEqual(lab);
    expect(next.service.state().runs[1]).toMatchObject({ status: 'done', outdated: false, runId: result.id });

    // And once more, since a restored document may crash as well.
    await next.service.edit([{ path: 'seed', value: 6 }]);
    await next.service.flush();
    const third = await rig(crashed.home);
    const [again] = await third.service.recoveries();
    await third.service.restore(again!.id);
    expect(third.service.state().lab).toMatchObject({ seed: 6, notes: 'first' });
    await third.service.save();
    expect(await readdir(join(crashed.home, 'recovery'))).toEqual([]);
  });

  it('can open what was saved instead, or throw the rest away', async () => {
    const crashed = await rig();
    const path = await crashed.put('a.iovalab');
    await crashed.service.openPath(path);
    await crashed.service.edit([{ path: 'seed', value: 5 }]);
    await crashed.service.flush();
    const next = await rig(crashed.home);
    const [offer] = await next.service.recoveries();
    expect(await next.service.openSaved(offer!.id)).toEqual(done);
    expect(next.service.state()).toMatchObject({ dirty: false, fileName: 'a.iovalab' });
    expect(await next.service.recoveries()).toEqual([]);
    expect(await next.service.restore(offer!.id)).toMatchObject({ status: 'failed', error: { code: 'not-found' } });
    expect(await next.service.discardRecovery('../..')).toMatchObject({ status: 'failed' });
  });

  it('restores a copy of an example that has no file', async () => {
    const crashed = await rig();
    await crashed.service.openCopy(await crashed.put('example.iovalab'));
    await crashed.service.edit([{ path: 'seed', value: 5 }]);
    await crashed.service.flush();
    const next = await rig(crashed.home);
    const [offer] = await next.service.recoveries();
    expect(offer).toMatchObject({ name: 'Small', fileName: null });
    await next.service.restore(offer!.id);
    expect(next.service.state()).toMatchObject({ fileName: null, dirty: true, lab: { seed: 5 } });
  });

  it('offers nothing after a clean close', async () => {
    const { service, put, answers, home } = await rig();
    await service.openPath(await put('a.iovalab'));
    await service.edit([{ path: 'seed', value: 5 }]);
    expect(await service.mayClose()).toBe(false);
    answers.unsaved = 'discard';
    expect(await service.mayClose()).toBe(true);
    expect(await (await rig(home)).service.recoveries()).toEqual([]);
  });
});
