import api from './plugins/api';
import health from './plugins/health';

export default [api, health];
