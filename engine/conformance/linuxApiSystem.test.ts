/** On which machine DMA API calls were recorded, from its command line, run.json, /proc/iomem and the file's name. */
import { describe, expect, it } from 'vitest';
import { type ApiSystem, nearestProfile, readApiSystem } from './linuxApiSystem.ts';

const IOMEM = [
  '00000000-00000fff : Reserved',
  '00001000-0009fbff : System RAM',
  '000a0000-000bffff : PCI Bus 0000:00',
  '00100000-7ffdffff : System RAM',
  '  0f400000-105d3f8f : Kernel code',
  'c0000000-febfffff : PCI Bus 0000:00',
  '  fea00000-feafffff : 0000:00:04.0',
  '100000000-13fffffff : System RAM',
].join('\n');

function system(name = 'DMA.x.jsonl.gz', run: object = {}, iomem = IOMEM): ApiSystem {
  const whole = {
    kernel: '7.3.4',
    commandLine: 'intel_iommu=on',
    iommu: 'intel-iommu,caching-mode=off',
    cpus: 1,
    ...run,
  };
  return readApiSystem(`run/${name}`, JSON.stringify(whole), iomem);
}

describe('the machine of a recording', () => {
  it.each([
    ['DMA.map.jsonl.gz', 'strict'],
    ['DMA-FQ.map.jsonl.gz', 'lazy'],
    ['identity.map.jsonl.gz', 'passthrough'],
  ] as const)('%s: the domain is %s', (name, domain) => {
    expect(system(name).domain).toBe(domain);
  });

  it('has no domain without an IOMMU, or with one that is switched off', () => {
    expect(system('keep.map.jsonl', { iommu: null }).domain).toBe('none');
    expect(system('keep.map.jsonl', { commandLine: 'intel_iommu=off' })).toMatchObject({ domain: 'none', iommu: null });
    expect(system('keep.map.jsonl', { iommu: 'amd-iommu', commandLine: 'amd_iommu=off' }).iommu).toBeNull();
    expect(() => system('DMA.map.jsonl', { iommu: null })).toThrow(/the mode DMA needs an IOMMU/);
  });

  it('keeps what the command line gave where the mode says so', () => {
    expect(system('keep.x.jsonl', { commandLine: 'intel_iommu=on iommu.strict=1' }).domain).toBe('strict');
    expect(system('keep.x.jsonl', { commandLine: 'intel_iommu=on iommu.strict=0' }).domain).toBe('lazy');
    expect(system('keep.x.jsonl', { commandLine: 'intel_iommu=on iommu=pt' }).domain).toBe('passthrough');
  });

  it('reads IOMMU, caching mode, forcedac, swiotlb and CPUs', () => {
    expect(
      system('DMA.x.jsonl', {
        iommu: 'intel-iommu,intremap=on,caching-mode=on',
        commandLine: 'intel_iommu=on iommu.forcedac=1 swiotlb=4000,force',
        cpus: 4,
      }),
    ).toMatchObject({
      iommu: 'vtd',
      cachingMode: true,
      forceDac: true,
      swiotlbForce: true,
      swiotlbSlots: 4096,
      cpus: 4,
    });
    expect(system('DMA.x.jsonl', { iommu: 'amd-iommu' })).toMatchObject({ iommu: 'amd', cachingMode: false });
    expect(system()).toMatchObject({ forceDac: false, swiotlbForce: false, swiotlbSlots: 32_768 });
  });

  it('has bounce buffers where RAM lies above 4 GiB or by force, and never by noforce', () => {
    const lowRam = '00100000-7ffdffff : System RAM';
    expect(system().swiotlbActive).toBe(true);
    expect(system('DMA.x.jsonl', {}, lowRam).swiotlbActive).toBe(false);
    expect(system('DMA.x.jsonl', { commandLine: 'swiotlb=force' }, lowRam).swiotlbActive).toBe(true);
    expect(system('DMA.x.jsonl', { commandLine: 'swiotlb=noforce' }).swiotlbActive).toBe(false);
  });

  it('flushes at once where the hardware asks for it, whatever the command line says', () => {
    const iommu = 'intel-iommu,caching-mode=on';
    expect(system('keep.x.jsonl', { iommu, commandLine: 'intel_iommu=on iommu.strict=0' }).domain).toBe('strict');
    expect(system('DMA-FQ.x.jsonl', { iommu }).domain).toBe('lazy');
  });

  it.each([
    ['aw-bits=39', 3],
    ['aw-bits=48', 4],
    ['aw-bits=57', 5],
  ])('%s: tables of %i levels', (width, levels) => {
    expect(system('DMA.x.jsonl', { iommu: `intel-iommu,${width}` }).levels).toBe(levels);
  });

  it('finds memory, windows and the first window of the device in /proc/iomem', () => {
    const { iomem } = system('DMA.x.jsonl', { devices: ['nvme,addr=03.0', 'edu,addr=04.0'] });
    expect(iomem.ram.at(-1)).toEqual({ start: 0x1_0000_0000, end: 0x1_3fff_ffff });
    expect(iomem.windows).toEqual([
      { start: 0xa_0000, end: 0xb_ffff },
      { start: 0xc000_0000, end: 0xfebf_ffff },
    ]);
    expect(iomem.reserved).toEqual([{ start: 0, end: 0xfff }]);
    expect(iomem.bar0).toBe(0xfea0_0000);
  });

  it.each([
    ['another mode', ['x.map.jsonl'], /its name does not begin with the mode/],
    ['an unknown IOMMU', ['DMA.x.jsonl', { iommu: 'smmu' }], /there is no IOMMU like "smmu"/],
    ['no CPUs', ['DMA.x.jsonl', { cpus: 0 }], /run\.json\): cpus: /],
    ['a kernel that is none', ['DMA.x.jsonl', { kernel: 'abc' }], /"abc" is no kernel release/],
    ['no memory', ['DMA.x.jsonl', {}, 'nothing'], /iomem\.txt\): it names no System RAM/],
  ] as const)('%s is refused', (_what, [name, run, iomem], message) => {
    expect(() => system(name, run, iomem)).toThrow(message);
  });

  it('refuses a run.json that is no JSON', () => {
    expect(() => readApiSystem('run/DMA.x.jsonl', '{', IOMEM)).toThrow(/run\.json\): this is not JSON/);
  });
});

describe('the profile of a kernel', () => {
  it.each([
    ['6.12.107+deb13-amd64', '6.12'],
    ['6.11.2', '6.12'],
    ['6.13.0-rc1', '6.12'],
    ['6.19.3', '6.18'],
    ['7.0.1', '6.18'],
    ['7.3.4+deb13-amd64', '7.3'],
    ['7.10.0', '7.3'],
  ])('of %s is the newest that is not newer: %s', (release, profile) => {
    expect(nearestProfile('run.json', release)).toBe(profile);
  });
});
