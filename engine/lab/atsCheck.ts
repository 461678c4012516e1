/**
 * Whether Linux would turn ATS on for a device that has it (drivers/pci/ats.c `pci_ats_supported`; drivers/iommu/{intel,amd,arm/arm-smmu-v3}):
 * where it would not, a device TLB in the lab would be out of use without a word.
 */
import type { LabProblem } from './check.ts';
import type { LabDocument, PartOf } from './schema.ts';
import { socketOf } from './topologyCheck.ts';

export function atsProblems(lab: LabDocument): LabProblem[] {
  return lab.topology.parts.flatMap((part): LabProblem[] =>
    (part.kind === 'nvme' || part.kind === 'nic') && part.ats !== undefined ? problemsOf(lab, part) : [],
  );
}

function problemsOf(lab: LabDocument, device: PartOf<'nvme' | 'nic'>): LabProblem[] {
  const { parts } = lab.topology;
  const path = `topology.parts[${device.id}].ats`;
  const socket = socketOf(parts, device.id);
  const iommu = parts.find((part): part is PartOf<'iommu'> => part.kind === 'iommu' && part.parent === socket?.id);
  if (iommu === undefined) {
    const problem = `there is no IOMMU above the ${device.kind === 'nvme' ? 'drive' : 'adapter'} that could translate for it.`;
    return [{ path, problem, remedy: `Add a part of the kind iommu below "${socket?.id ?? ''}", or leave ats out.` }];
  }
  if (iommu.vendor === 'riscv') {
    const problem = 'the driver of Linux for RISC-V IOMMUs does not turn ATS on.';
    return [{ path, problem, remedy: `Leave ats out, or give "${iommu.id}" another vendor.` }];
  }
  if (device.untrusted === true) {
    const problem = 'Linux turns ATS on for no untrusted device, since it could use translations that it made up.';
    return [{ path, problem, remedy: 'Leave ats out, or untrusted.' }];
  }
  if (lab.apiChecker === undefined || lab.apiChecker === 'off') return [];
  const problem = 'the API checker judges accesses at the IOMMU, which translated requests pass by.';
  return [{ path, problem, remedy: 'Leave ats out, or switch apiChecker off.' }];
}
