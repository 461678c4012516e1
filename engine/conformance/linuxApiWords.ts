/**
 * The words of a recording's commands: which function of the emulator each calls, and which print no events.
 */
import { devpeek, devpoke, eduwr, edurd, edustale, i2p, peek, poke, save, walk } from './linuxApiAccess.ts';
import { coh, uncoh } from './linuxApiCoherent.ts';
import { hmmalloc, hmmfree, hmmmap, hmmunmap } from './linuxApiHmm.ts';
import { iod, ioda, iodp } from './linuxApiIova.ts';
import type { Word } from './linuxApiReplay.ts';
import { sg, unsg } from './linuxApiScatter.ts';
import { cpu, delay, env, mask, minalign, pages, segbound, segsize, untrusted } from './linuxApiSettings.ts';
import { map, mapphys, res, synccpu, syncdev, unmap, unres } from './linuxApiSingle.ts';
import { alloc, destroy, free, link, sync, unlink } from './linuxApiTwoStep.ts';

export const API_WORDS: ReadonlyMap<string, Word> = new Map<string, Word>([
  ['alloc', alloc],
  ['link', link],
  ['sync', sync],
  ['unlink', unlink],
  ['destroy', destroy],
  ['free', free],
  ['map', map],
  ['mapphys', mapphys],
  ['res', res],
  ['unmap', unmap],
  ['unres', unres],
  ['synccpu', synccpu],
  ['syncdev', syncdev],
  ['sg', sg],
  ['unsg', unsg],
  ['coh', coh],
  ['uncoh', uncoh],
  ['hmmalloc', hmmalloc],
  ['hmmmap', hmmmap],
  ['hmmunmap', hmmunmap],
  ['hmmfree', hmmfree],
  ['iod', iod],
  ['ioda', ioda],
  ['iodp', iodp],
  ['walk', walk],
  ['i2p', i2p],
  ['save', save],
  ['peek', peek],
  ['poke', poke],
  ['devpeek', devpeek],
  ['devpoke', devpoke],
  ['edurd', edurd],
  ['eduwr', eduwr],
  ['edustale', edustale],
  ['pages', pages],
  ['contig', pages],
  ['cpu', cpu],
  ['delay', delay],
  ['mask', mask],
  ['segsize', segsize],
  ['segbound', segbound],
  ['minalign', minalign],
  ['untrusted', untrusted],
  ['env', env],
]);

/** Words that print no list of events; what happens meanwhile stands in the next record. */
export const QUIET_WORDS: ReadonlySet<string> = new Set([
  'walk',
  'i2p',
  'save',
  'peek',
  'poke',
  'devpeek',
  'devpoke',
  'cpu',
  'note',
]);

/** Words whose page numbers are inputs. */
export const INPUT_WORDS: ReadonlySet<string> = new Set(['pages', 'contig']);
