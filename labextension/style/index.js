import '../../jupyter_aiinfra/widgets/job.css';
import '../../jupyter_aiinfra/widgets/gpus.css';
import './base.css';
import './panel.css';
import './pools.css';
import './celltoolbar.css';
import './cell.css';
import './jobpage.css';
