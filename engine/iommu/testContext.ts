/** For tests: a device's entry that says what it is told. */
import { PhysicalMemory } from '../memory/physicalMemory.ts';
import { DeviceContextReader } from './deviceContext.ts';
import { VTD_SECOND_STAGE } from './formats/vtdSecondStage.ts';

class ToldContext extends DeviceContextReader {
  read(): boolean {
    return true;
  }
}

export function contextOf(fields: Partial<Omit<DeviceContextReader, 'read'>>): DeviceContextReader {
  return Object.assign(new ToldContext(new PhysicalMemory(4096), VTD_SECOND_STAGE), fields);
}
