/**
 * The suite `linux-trace`: replays recordings of NVMe workloads under real kernels and compares, request by request, every
 * call, map, unmap, free and invalidation in order. A request agrees when its whole list does: what its submission and its
 * completion did, and where its ranges went if the flush queue held them. Where a device log lies beside the trace, reads and
 * writes agree only if the drive's side does too: data pointer, IOTLB fills and hits, invalidation descriptors.
 * What the recording decides: order, direction, memory and segments of the requests, what came fast or slow from the IOVA
 * allocator, when a descriptor pool was empty, and when the flush queue's timer fired. All else is the emulator's.
 */
import { tieRecording } from '../lab/recording.ts';
import { LabError } from '../time/labError.ts';
import type { RecordingFiles } from '../workloads/recordedRequest.ts';
import { planDevice } from './devicePlan.ts';
import { judge, requestName } from './judgeRequests.ts';
import { type RecordedCommand, recordedLists } from './recordedLists.ts';
import type { Difference, FileResult, Skipped } from './report.ts';
import { Replay, type Replayed } from './traceReplay.ts';

export const LINUX_TRACE_SUITE = 'linux-trace';

/** Replays one recording. Bad input throws a LabError. */
export function conformRecording(files: RecordingFiles): FileResult {
  const recording = tieRecording(files);
  const lists = recordedLists(recording.trace);
  const { compared, contradictions, skipped: cutOff } = judge(recording.trace, lists);
  const { name, deviceLog } = files;
  const plan =
    deviceLog === undefined || compared.size === 0
      ? null
      : planDevice(`device.log of ${name}`, deviceLog, lists, compared.keys());
  const skipped: Skipped[] = [...cutOff];
  const beyond = plan?.beyond.size ?? 0;
  if (beyond > 0) skipped.push({ reason: 'the device log ends before the request does', count: beyond });
  const total = compared.size - beyond + contradictions.length;
  if (total === 0) {
    throw new LabError(
      name,
      'no request in it can be compared: none is there from its submission to its completion.',
      'Record from before the workload begins until after it ends.',
    );
  }
  const requests = new Map<RecordedCommand, Replayed>();
  for (const [recorded, memory] of compared) {
    requests.set(recorded, { recorded, memory, ranges: [], request: null, difference: null, deviceDifference: null });
  }
  new Replay(recording, lists, requests, plan).run();
  const differences: Difference[] = [...contradictions];
  for (const { recorded, difference, deviceDifference } of requests.values()) {
    if (plan?.beyond.has(recorded) === true) continue;
    if (difference !== null) differences.push({ ...difference, unit: requestName(recorded) });
    else if (deviceDifference !== null) {
      const { line, ...sides } = deviceDifference;
      const unit = `${requestName(recorded)}, at line ${line} of its device.log`;
      differences.push({ line: recorded.command.setup.line, unit, ...sides });
    }
  }
  return {
    name,
    agree: total - differences.length,
    total,
    firstDifference: differences.reduce<Difference | null>(
      (first, difference) => (first === null || difference.line < first.line ? difference : first),
      null,
    ),
    skipped,
  };
}
