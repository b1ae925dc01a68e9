import { h } from './dom';
import { plural, sizeText } from './format';
import type { IManifest } from './protocol';

/** What travelled with a job, as a table. */
export function manifestNode(manifest: IManifest): HTMLElement {
  const header = h('tr', {}, ...['name', 'type', 'size', 'how'].map(name => h('th', {}, name)));
  const rows = manifest.items.map(item =>
    h(
      'tr',
      {},
      h('td', {}, h('code', { class: 'aiinfra-text' }, item.name)),
      h('td', {}, item.type),
      h('td', {}, sizeText(item.size_bytes)),
      h('td', {}, item.how)
    )
  );
  const more = manifest.count - manifest.items.length;
  if (more > 0) {
    rows.push(h('tr', {}, h('td', { colspan: '4' }, `and ${plural(more, 'more name')}`)));
  }
  return h('table', { class: 'aiinfra-manifest' }, h('thead', {}, header), h('tbody', {}, ...rows));
}
