/**
 * AMD v2 page tables, the guest tables under a GCR3 pointer: those of x86-64 processors, entry for entry as in vtdFirstStage.ts, where
 * their bit table is (AMD specification 48882, 2.2.6; AMD64 architecture manual, volume 2, 5.3 and 5.4; Linux
 * drivers/iommu/generic_pt/fmt/x86_64.h).
 *
 * | bit   | name | meaning                                                              |
 * | ----- | ---- | -------------------------------------------------------------------- |
 * | 0     | PR   | present, and read allowed                                            |
 * | 1     | RW   | write allowed                                                        |
 * | 2     | US   | user access: needed, since requests of devices are user requests     |
 * | 5     | A    | accessed, in tables' entries too                                     |
 * | 6     | D    | dirty                                                                |
 * | 7     | PS   | leaf at level 1 (2 MiB) or level 2 (1 GiB)                           |
 * | 12    | PAT  | of a leaf with PS: memory type, no part of the address               |
 * | 51:12 | ADDR | page of the next table, or of the leaf                               |
 * | 63    | NX   | execute disable                                                      |
 *
 * With a PASID, addresses are sign-extended. Requests without one walk the table of PASID 0 with addresses that are not: what lies beyond the
 * lower half, 47 bits or 56, is no address. Leaves out: as vtdFirstStage.ts.
 */
import { PAGES_PER_ENTRY, pageTableFormat } from './pageTableFormat.ts';
import { FIRST_STAGE_DESCRIPTION } from './vtdFirstStage.ts';

export const AMD_V2 = pageTableFormat({ ...FIRST_STAGE_DESCRIPTION, name: 'amd-v2' });

/** The table of PASID 0, for requests that have none. */
export const AMD_V2_WITHOUT_PASID = pageTableFormat({
  ...FIRST_STAGE_DESCRIPTION,
  name: 'amd-v2',
  translates: (page, levels) => page < PAGES_PER_ENTRY[levels]! / 2,
});
