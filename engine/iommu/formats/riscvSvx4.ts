/**
 * RISC-V second-stage tables, Sv39x4, Sv48x4 and Sv57x4: entries as in the first stage (riscvSv.ts), under a root of four tables side by
 * side, so that guest addresses have two bits more (RISC-V privileged architecture, 21.5, two-stage address translation; RISC-V IOMMU
 * specification 1.0, 3.3). Addresses are unsigned: 41, 50 and 59 bits. Every access counts as a user's, so that every leaf needs U.
 */
import { PAGES_PER_ENTRY, pageTableFormat } from './pageTableFormat.ts';
import { RISCV_DESCRIPTION } from './riscvSv.ts';

const ROOT_TABLES = 4;

export const RISCV_SVX4 = pageTableFormat({
  ...RISCV_DESCRIPTION,
  name: 'riscv-svx4',
  stage: 2,
  rootTables: ROOT_TABLES,
  pageLimit: (levels) => PAGES_PER_ENTRY[levels]! * ROOT_TABLES,
  translates: (page, levels) => page < PAGES_PER_ENTRY[levels]! * ROOT_TABLES,
});
