/**
 * The access-control bits of a port as a lab names them (PCI Express Base Specification 6.0, 7.7.8.3), and those that Linux
 * switches on at every port that has them once an IOMMU is there (drivers/pci/pci.c `pci_std_enable_acs`).
 * Leaves out: egress control, which needs a vector of peers.
 */
import {
  ACS_COMPLETION_REDIRECT,
  ACS_DIRECT_TRANSLATED,
  ACS_REQUEST_REDIRECT,
  ACS_SOURCE_VALIDATION,
  ACS_TRANSLATION_BLOCKING,
  ACS_UPSTREAM_FORWARDING,
} from '../pcie/portTree.ts';

export const ACS_BIT_NAMES = [
  'sourceValidation',
  'translationBlocking',
  'requestRedirect',
  'completionRedirect',
  'upstreamForwarding',
  'directTranslated',
] as const;
export type AcsBitName = (typeof ACS_BIT_NAMES)[number];

const BITS: Readonly<Record<AcsBitName, number>> = {
  sourceValidation: ACS_SOURCE_VALIDATION,
  translationBlocking: ACS_TRANSLATION_BLOCKING,
  requestRedirect: ACS_REQUEST_REDIRECT,
  completionRedirect: ACS_COMPLETION_REDIRECT,
  upstreamForwarding: ACS_UPSTREAM_FORWARDING,
  directTranslated: ACS_DIRECT_TRANSLATED,
};

const SWITCHED_ON_BY_LINUX: readonly AcsBitName[] = [
  'sourceValidation',
  'requestRedirect',
  'completionRedirect',
  'upstreamForwarding',
];

/** The bits of a port's register; left out: Linux's. */
export function acsBits(names: readonly AcsBitName[] = SWITCHED_ON_BY_LINUX): number {
  return names.reduce((bits, name) => bits | BITS[name], 0);
}
