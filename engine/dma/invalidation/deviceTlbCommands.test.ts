/**
 * What each driver tells device TLBs, command for command, against the kernel's own bit operations (Linux drivers/iommu/intel/cache.c
 * `cache_tag_flush_devtlb_psi`, intel/iommu.h `qi_desc_dev_iotlb`; amd/iommu.c `build_inv_address`, `build_inv_iotlb_pages`;
 * arm/arm-smmu-v3/arm-smmu-v3.c `arm_smmu_atc_inv_to_cmd`; VT-d specification 6.5.2.5, AMD specification 48882 2.4.5, IHI 0070 4.5.1).
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AMD_V1 } from '../../iommu/formats/amdV1.ts';
import { VTD_FIRST_STAGE } from '../../iommu/formats/vtdFirstStage.ts';
import { VTD_SECOND_STAGE } from '../../iommu/formats/vtdSecondStage.ts';
import type { IommuVendor } from '../../iommu/architectures.ts';
import { Counters } from '../../metrics/counters.ts';
import { Cpu } from '../../time/cpu.ts';
import { dmaCostParameters, resolveDmaCosts } from '../kernels/costs.ts';
import { kernelProfile, type KernelProfile, type KernelProfileName } from '../kernels/profiles.ts';
import { AmdInvalidation } from './amdInvalidation.ts';
import type { DomainInvalidation } from './domainInvalidation.ts';
import { RiscvInvalidation } from './riscvInvalidation.ts';
import { SmmuInvalidation } from './smmuInvalidation.ts';
import { recordingHardware } from './testHardware.ts';
import { VtdInvalidation } from './vtdInvalidation.ts';

const COSTS = resolveDmaCosts(dmaCostParameters('recorded-instructions', '7.3'));
const DOMAIN = 7;
const PAGE = 4096n;
const EVERYTHING = { start: 0n, size: 0n };

interface Setting {
  readonly vendor: IommuVendor;
  readonly devices: readonly number[];
  readonly profile?: KernelProfileName;
  readonly firstStage?: boolean;
  readonly rangeInvalidation?: boolean;
}

function driver({ vendor, devices, profile = '7.3', firstStage = false, rangeInvalidation = false }: Setting) {
  const { iommu, submissions } = recordingHardware(vendor, rangeInvalidation, firstStage);
  const behaviour: KernelProfile = kernelProfile(profile);
  const format = vendor === 'amd' ? AMD_V1 : firstStage ? VTD_FIRST_STAGE : VTD_SECOND_STAGE;
  const options = {
    profile: behaviour,
    costs: COSTS,
    iommu,
    domainId: DOMAIN,
    format,
    counters: new Counters(),
    trace: null,
  };
  const Driver = { vtd: VtdInvalidation, amd: AmdInvalidation, smmuv3: SmmuInvalidation, riscv: RiscvInvalidation }[
    vendor
  ];
  const invalidation: DomainInvalidation = new Driver(options);
  for (const device of devices) invalidation.addDeviceTlb(device);
  return { invalidation, cpu: new Cpu(0), submissions };
}

/** The commands of one call, submission by submission; a command of the TLB itself as null, since others test those. */
function told(setting: Setting, call: (invalidation: DomainInvalidation, cpu: Cpu) => void): (bigint | null)[][] {
  const { invalidation, cpu, submissions } = driver(setting);
  call(invalidation, cpu);
  const tellsDevice = { vtd: isVtdDeviceTlb, amd: isAmdDeviceTlb, smmuv3: isAtcInv, riscv: () => false }[
    setting.vendor
  ];
  return submissions.map((commands) => commands.map((command) => (tellsDevice(command) ? command : null)));
}

const isVtdDeviceTlb = (command: bigint): boolean => (command & 0xfn) === 3n;
const isAmdDeviceTlb = (command: bigint): boolean => ((command >> 60n) & 0xfn) === 4n;
const isAtcInv = (command: bigint): boolean => (command & 0xffn) === 0x40n;

function fls(value: bigint): bigint {
  return value === 0n ? 0n : BigInt(value.toString(2).length);
}

function vtdDescriptor(device: number, { start, size }: { start: bigint; size: bigint }): bigint {
  let mask = 52n;
  let address = 0n;
  if (size !== 0n) {
    const pfn = start / PAGE;
    const pages = size / PAGE;
    mask = fls(pages - 1n);
    const bits = (1n << mask) - 1n;
    if ((pfn & bits) !== 0n) {
      const shared = BigInt.asUintN(64, ~(pfn ^ (pfn + pages - 1n)) & ~bits);
      mask = fls(shared & -shared) - 1n;
    }
    address = ((pfn >> mask) << mask) * PAGE;
  }
  if (mask !== 0n) address |= (1n << (12n + mask - 1n)) - 1n;
  const low = 3n | (BigInt(device) << 32n);
  return low | (((address & ~0xfffn) | (mask === 0n ? 0n : 1n)) << 64n);
}

function amdCommand(device: number, { start, size }: { start: bigint; size: bigint }): bigint {
  let address = start;
  if (size !== PAGE) {
    const end = size === 0n ? (1n << 63n) - 1n : start + size - 1n;
    const different = fls(end ^ start) - 1n;
    address = different > 51n ? 0x7fff_ffff_ffff_f000n : start | ((1n << different) - 1n);
    address = (address & ~0xfffn) | 1n;
  }
  const id = BigInt(device);
  return id | (32n << 24n) | (id << 32n) | (4n << 60n) | (address << 64n);
}

function atcInv(device: number, { start, size }: { start: bigint; size: bigint }): bigint {
  const first = start / PAGE;
  const last = (start + size - 1n) / PAGE;
  const log2 = size === 0n ? 52n : fls(first ^ last);
  const address = size === 0n ? 0n : (first & ~((1n << log2) - 1n)) * PAGE;
  return 0x40n | (BigInt(device) << 32n) | ((address | log2) << 64n);
}

function bytesOf(firstPage: number, pages: number) {
  return { start: BigInt(firstPage) * PAGE, size: BigInt(pages) * PAGE };
}

const range = (firstPage: number, pages: number) => (invalidation: DomainInvalidation, cpu: Cpu) => {
  invalidation.flushRange(cpu, firstPage * 4096, (firstPage + pages) * 4096 - 1, true);
};
const everything = (invalidation: DomainInvalidation, cpu: Cpu): void => {
  invalidation.flushAll(cpu);
};

/** Pages of 48 address bits, and ranges up to a few GiB, mostly short and unaligned. */
const somePages = fc.tuple(
  fc.oneof(fc.nat({ max: 2 ** 36 - 1 }), fc.nat({ max: 4096 })),
  fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 2 ** 20 })),
);
const someDevices = fc.uniqueArray(fc.nat({ max: 0xffff }), { minLength: 1, maxLength: 15 });

describe('VT-d', () => {
  test('behind the IOTLB, in the order of attachment, with one wait for all', () => {
    fc.assert(
      fc.property(somePages, someDevices, fc.boolean(), ([first, pages], devices, firstStage) => {
        const expected = devices.map((device) => vtdDescriptor(device, bytesOf(first, pages)));
        expect(told({ vendor: 'vtd', devices, firstStage }, range(first, pages))).toEqual([[null, ...expected]]);
      }),
    );
  });

  test('a flush of the domain names every page of each', () => {
    const setting: Setting = { vendor: 'vtd', devices: [0x18, 0x108] };
    const expected = [0x18, 0x108].map((device) => vtdDescriptor(device, EVERYTHING));
    expect(expected[0]).toBe((0x7fff_ffff_ffff_f001n << 64n) | (0x18n << 32n) | 3n);
    expect(told(setting, everything)).toEqual([[null, ...expected]]);
  });

  test('more than 16 descriptors go in batches, each with a wait of its own', () => {
    const devices = Array.from({ length: 33 }, (_, index) => 0x100 + index);
    const submissions = told({ vendor: 'vtd', devices }, range(5, 1));
    expect(submissions.map((commands) => commands.length)).toEqual([16, 16, 2]);
    expect(submissions.flat()).toEqual([null, ...devices.map((device) => vtdDescriptor(device, bytesOf(5, 1)))]);
  });

  test('two pages across a line of 2 MiB grow to 4 MiB there as in the IOTLB', () => {
    const [[, command]] = told({ vendor: 'vtd', devices: [0x18] }, range(0x1ff, 2)) as [[null, bigint]];
    expect((command >> 64n).toString(16)).toBe((0x1f_f000n | 1n).toString(16));
  });

  test('what was not present is told to no device', () => {
    const { iommu, submissions } = recordingHardware('vtd');
    const invalidation = new VtdInvalidation({
      profile: kernelProfile('7.3'),
      costs: COSTS,
      iommu,
      domainId: DOMAIN,
      format: VTD_SECOND_STAGE,
      counters: new Counters(),
      trace: null,
      cachingMode: true,
    });
    invalidation.addDeviceTlb(0x18);
    invalidation.flushNotPresent(new Cpu(0), 0x1000, 0x1fff);
    expect(submissions.map((commands) => commands.map(isVtdDeviceTlb))).toEqual([[false]]);
  });
});

describe('AMD', () => {
  test("behind the IOMMU's command, the device attached last first, with one COMPLETION_WAIT for all", () => {
    fc.assert(
      fc.property(somePages, someDevices, ([first, pages], devices) => {
        const expected = devices.toReversed().map((device) => amdCommand(device, bytesOf(first, pages)));
        expect(told({ vendor: 'amd', devices }, range(first, pages))).toEqual([[null, ...expected]]);
      }),
    );
  });

  test('a flush of the domain names every page of each', () => {
    const expected = [0x108, 0x18].map((device) => amdCommand(device, EVERYTHING));
    expect(expected[1]! >> 64n).toBe(0x7fff_ffff_ffff_f001n);
    expect(told({ vendor: 'amd', devices: [0x18, 0x108] }, everything)).toEqual([[null, ...expected]]);
  });
});

describe('SMMUv3', () => {
  /** Kernels with a list put devices at its head; those with an array sort it. */
  function order(devices: readonly number[], profile: KernelProfileName): readonly number[] {
    return profile === '7.3' ? devices.toSorted((a, b) => a - b) : devices.toReversed();
  }

  test('in a batch of their own, behind the CMD_SYNC of the TLB', () => {
    const profiles = fc.constantFrom<KernelProfileName>('6.12', '7.3');
    fc.assert(
      fc.property(
        somePages,
        someDevices,
        profiles,
        fc.boolean(),
        ([first, pages], devices, profile, rangeInvalidation) => {
          const setting: Setting = { vendor: 'smmuv3', devices, profile, rangeInvalidation };
          const submissions = told(setting, range(first, pages));
          expect(submissions).toHaveLength(2);
          expect(submissions[0]!.every((command) => command === null)).toBe(true);
          const bytes = bytesOf(first, pages);
          expect(submissions[1]).toEqual(order(devices, profile).map((device) => atcInv(device, bytes)));
        },
      ),
    );
  });

  test('a flush of the address space names every page of each', () => {
    const expected = [0x108, 0x18].map((device) => atcInv(device, EVERYTHING));
    expect(told({ vendor: 'smmuv3', devices: [0x18, 0x108], profile: '6.12' }, everything)).toEqual([[null], expected]);
  });

  test('a range of too many pages for the TLB is told to devices as the range that it is', () => {
    const [tlb, devices] = told({ vendor: 'smmuv3', devices: [0x18] }, range(0x400, 0x400));
    expect([tlb, devices]).toEqual([[null], [atcInv(0x18, bytesOf(0x400, 0x400))]]);
  });
});

test.each(['vtd', 'amd', 'smmuv3'] as const)('%s without device TLBs is told as ever', (vendor) => {
  for (const call of [range(5, 3), everything]) {
    expect(
      told({ vendor, devices: [] }, call)
        .flat()
        .every((command) => command === null),
    ).toBe(true);
    expect(told({ vendor, devices: [] }, call)).toHaveLength(1);
  }
});

test("Linux's driver of the RISC-V IOMMU knows no device TLB", () => {
  expect(() => driver({ vendor: 'riscv', devices: [0x18] })).toThrow('lets no device ask for translations');
});
