/**
 * ELK in a worker of its own, started when the first topology is shown. The worker is elkjs's own file, untouched, as its
 * licence wants it (see NOTICE).
 */
import ELK from 'elkjs/lib/elk-api.js';
import elkWorkerUrl from 'elkjs/lib/elk-worker.min.js?url';
import { elkGraph, placements, type Placement, type TopologyGraph } from './topologyGraph.ts';

let elk: InstanceType<typeof ELK> | null = null;

export async function layOut(graph: TopologyGraph): Promise<Map<string, Placement>> {
  elk ??= new ELK({ workerUrl: elkWorkerUrl });
  return placements(await elk.layout(elkGraph(graph)));
}
