/** ECharts with what the charts of a run use and nothing else; a part that is missing shows only when it is drawn. */
import { LineChart } from 'echarts/charts';
import {
  AriaComponent,
  DataZoomComponent,
  GridComponent,
  LegendComponent,
  ToolboxComponent,
  TooltipComponent,
} from 'echarts/components';
import { connect, use } from 'echarts/core';
import { CanvasRenderer } from 'echarts/renderers';
import { CHART_GROUP } from './chartGroup.ts';

use([
  LineChart,
  GridComponent,
  TooltipComponent,
  LegendComponent,
  DataZoomComponent,
  ToolboxComponent,
  AriaComponent,
  CanvasRenderer,
]);
connect(CHART_GROUP);
