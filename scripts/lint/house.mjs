// The plan of the house for the import-direction rule: for each folder, which other folders it may see, which packages, and why.
// Order matters: a file belongs to the first folder that contains it. Left out: what happens inside one folder.

/**
 * @typedef {object} Room
 * @property {string} folder path from the root of the repository, without a slash at the end
 * @property {readonly string[]} sees folders whose code may be imported (its own folder always)
 * @property {readonly string[]} [seesTypesOf] folders of which only types may be imported
 * @property {readonly string[] | 'any'} packages packages that may be imported; `node:*` stands for all of Node's modules
 * @property {readonly string[]} [never] packages that are refused although `packages` is 'any'
 * @property {string} why said to whoever breaks the rule
 */

/** What only the two clients of the engine know. */
const userInterface = ['electron', 'vue', 'pinia', 'reka-ui', 'vue-echarts', '@vue-flow/core', '@vue-flow/background'];

const everyEngineFolder = [
  'time',
  'metrics',
  'memory',
  'pcie',
  'iommu',
  'dma',
  'devices',
  'schemes',
  'drivers',
  'workloads',
  'formats',
  'lab',
  'conformance',
  'cli',
].map((name) => `engine/${name}`);

/** @param {readonly string[]} names */
const engine = (...names) => names.map((name) => `engine/${name}`);

/** @type {readonly Room[]} */
export const house = [
  {
    folder: 'engine/time',
    sees: [],
    packages: ['pure-rand'],
    why: 'the clock is the ground floor: if it knew who schedules on it, nothing above could be tested alone.',
  },
  {
    folder: 'engine/metrics',
    sees: engine('time'),
    packages: [],
    why: 'every part counts into metrics, so metrics may know no part: else counting would tie the whole house together.',
  },
  {
    folder: 'engine/memory',
    sees: engine('time', 'metrics'),
    packages: [],
    why: 'memory holds bytes and does not know what they mean; page tables and rings are the business of those who write them.',
  },
  {
    folder: 'engine/pcie',
    sees: engine('time', 'metrics', 'memory'),
    packages: [],
    why: 'the fabric carries bus addresses and asks a Translator that it declares itself, so that a machine without an IOMMU is the same fabric.',
  },
  {
    folder: 'engine/iommu',
    sees: engine('time', 'metrics', 'memory', 'pcie'),
    packages: [],
    why: 'hardware knows tables and commands, never the kernel that writes them: a wrong table must show as a fault, not be put right from above.',
  },
  {
    folder: 'engine/dma',
    sees: [...engine('time', 'metrics', 'memory', 'pcie', 'iommu'), 'fixtures/presets/kernel-costs'],
    packages: [],
    why: 'the DMA API serves every driver alike, so it may know none of them, nor the devices behind them.',
  },
  {
    folder: 'engine/devices',
    sees: engine('time', 'metrics', 'memory', 'pcie'),
    packages: [],
    why: 'a device sees bus addresses only. If it could call the DMA API or read a driver, a wrong mapping would no longer show as a wrong byte.',
  },
  {
    folder: 'engine/schemes',
    sees: engine('time', 'metrics', 'memory', 'dma'),
    packages: [],
    why: 'a scheme is what a driver does with the DMA API; comparing schemes means that they know neither driver nor hardware.',
  },
  {
    folder: 'engine/drivers',
    sees: engine('time', 'metrics', 'memory', 'pcie', 'dma', 'schemes', 'devices'),
    packages: [],
    why: 'a driver knows the DMA API, its scheme and the registers of its device; the IOMMU is hidden from it as it is in Linux.',
  },
  {
    folder: 'engine/workloads',
    sees: engine('time', 'metrics', 'memory', 'dma', 'schemes', 'drivers'),
    packages: [],
    why: 'a workload submits work to drivers and looks no deeper, so that one workload can run on every machine.',
  },
  {
    folder: 'engine/formats',
    sees: engine('time'),
    seesTypesOf: everyEngineFolder,
    packages: [],
    why: 'formats turn outside text into plain records; with code of the machine inside, a parser could not be fuzzed alone.',
  },
  {
    folder: 'engine/lab',
    sees: [
      ...engine(
        'time',
        'metrics',
        'memory',
        'pcie',
        'iommu',
        'dma',
        'devices',
        'schemes',
        'drivers',
        'workloads',
        'formats',
      ),
      'fixtures/presets',
    ],
    packages: 'any',
    never: userInterface,
    why: 'the lab turns a document into a machine and a result; conformance and the two clients use it, and it knows neither.',
  },
  {
    folder: 'engine/conformance',
    sees: [
      ...engine(
        'time',
        'metrics',
        'memory',
        'pcie',
        'iommu',
        'dma',
        'devices',
        'schemes',
        'drivers',
        'workloads',
        'formats',
        'lab',
      ),
      'fixtures/presets',
      'fixtures/reference',
    ],
    packages: 'any',
    never: userInterface,
    why: 'conformance judges the engine from outside; nothing in the engine may depend on how it is judged.',
  },
  {
    folder: 'engine/cli',
    sees: [...everyEngineFolder, 'fixtures'],
    packages: 'any',
    never: userInterface,
    why: 'the command line runs on plain Node; it and the desktop app are two clients of the same functions and share nothing else.',
  },
  {
    folder: 'electron/ipc',
    sees: [],
    seesTypesOf: everyEngineFolder,
    packages: ['zod'],
    why: 'the contract is read by main, preload and renderer alike, so it may hold nothing that only one of them can load.',
  },
  {
    folder: 'electron/preload',
    sees: ['electron/ipc'],
    seesTypesOf: everyEngineFolder,
    packages: ['electron'],
    why: 'the preload stands between the page and the system: the less code it holds, the less there is to attack.',
  },
  {
    folder: 'electron/workers',
    sees: [...everyEngineFolder, 'electron/ipc', 'fixtures'],
    packages: 'any',
    never: userInterface,
    why: 'worker threads have no Electron: a run must be the same code here and on the command line.',
  },
  {
    folder: 'electron',
    sees: [...everyEngineFolder, 'electron', 'fixtures'],
    packages: 'any',
    never: userInterface.filter((name) => name !== 'electron'),
    why: 'the desktop shell opens windows and files; what is shown in a window is the business of renderer/.',
  },
  {
    folder: 'renderer',
    sees: [...engine('time', 'metrics', 'memory', 'lab'), 'electron/ipc', 'fixtures'],
    seesTypesOf: everyEngineFolder,
    packages: 'any',
    never: ['electron', 'node:*', 'electron-log', 'yazl', 'yauzl', '@resvg/resvg-js', 'commander'],
    why: 'the page is sandboxed: it has no Node and no Electron, and talks to main through the preload alone.',
  },
];
