import api from './plugins/api';
import budgets from './plugins/budgets';
import cellbanner from './plugins/cellbanner';
import celltoolbar from './plugins/celltoolbar';
import costpage from './plugins/costpage';
import deploy from './plugins/deploy';
import editor from './plugins/editor';
import endpointpage from './plugins/endpointpage';
import gpuspage from './plugins/gpuspage';
import health from './plugins/health';
import insertcell from './plugins/insertcell';
import jobcommands from './plugins/jobcommands';
import jobpage from './plugins/jobpage';
import mime from './plugins/mime';
import models from './plugins/models';
import notify from './plugins/notify';
import panel from './plugins/panel';
import poolcommands from './plugins/poolcommands';
import runpage from './plugins/runpage';
import schedulepage from './plugins/schedulepage';
import schedules from './plugins/schedules';
import settings from './plugins/settings';
import statusbar from './plugins/statusbar';
import stream from './plugins/stream';

export default [
  api,
  budgets,
  cellbanner,
  celltoolbar,
  costpage,
  deploy,
  editor,
  endpointpage,
  gpuspage,
  health,
  insertcell,
  jobcommands,
  jobpage,
  mime,
  models,
  notify,
  panel,
  poolcommands,
  runpage,
  schedulepage,
  schedules,
  settings,
  statusbar,
  stream
];
