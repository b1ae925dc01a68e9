/** When a job came to which state, as a bar and as a table. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { JobDetail, JobItem, TimelineEntry } from '../api/types';
import { isActive } from '../jobstate';
import { h } from '../widgets/dom';
import { durationText } from '../widgets/format';

/** A stretch of a job's life. */
export interface IStretch {
  name: 'waiting' | 'running';
  seconds: number;
}

/** How long a job waited and ran, up to `now` where it still does. */
export function stretches(item: JobItem, now: number): IStretch[] {
  const { created_at, started_at, ended_at } = item;
  const end = ended_at ?? now;
  const waiting = {
    name: 'waiting',
    seconds: Math.max(0, (started_at ?? end) - created_at)
  } as const;
  if (started_at === null) {
    return [waiting];
  }
  return [waiting, { name: 'running', seconds: Math.max(0, end - started_at) }];
}

/** What happened, in words. */
export function happened(entry: TimelineEntry, trans: TranslationBundle): string {
  const detail = entry.detail as Record<string, unknown>;
  const text = (name: string): string =>
    typeof detail[name] === 'string' || typeof detail[name] === 'number'
      ? String(detail[name])
      : '';
  switch (entry.kind) {
    case 'job.added':
      return trans.__('launched on pool %1', text('pool'));
    case 'job.state':
      return [text('to'), text('reason')].filter(Boolean).join(': ');
    case 'job.desired':
      return text('to') === 'stop' ? trans.__('asked to stop') : trans.__('asked to run');
    case 'job.notice':
      return noticed(text('kind'), text('text'), trans);
    case 'job.restart':
      return restarted(detail, text('reason'), trans);
    default:
      return [entry.kind, ...Object.keys(detail).map(name => `${name} ${text(name)}`)]
        .map(part => part.trim())
        .join(' · ');
  }
}

function noticed(kind: string, said: string, trans: TranslationBundle): string {
  switch (kind) {
    case 'warning':
      return trans.__('warned: %1', said);
    case 'question':
      return trans.__('asked whether it may go on: %1', said);
    case 'stop':
      return trans.__('to be stopped: %1', said);
    default:
      return trans.__('what was said no longer holds');
  }
}

function restarted(
  { attempt, nodes }: Record<string, unknown>,
  reason: string,
  trans: TranslationBundle
): string {
  const began =
    Array.isArray(nodes) && nodes.length > 0
      ? trans.__('attempt %1 begun on %2', String(attempt), nodes.join(', '))
      : trans.__('attempt %1 begun', String(attempt));
  return [began, reason].filter(Boolean).join(': ');
}

export function timelineNode(
  { item, timeline }: JobDetail,
  now: number,
  trans: TranslationBundle
): HTMLElement {
  const head = [trans.__('Time'), trans.__('After'), trans.__('What')];
  const rows = timeline.map((entry, at) => {
    const before = timeline[at - 1];
    const after = before ? `+ ${durationText(Math.max(0, entry.at - before.at))}` : '';
    return h(
      'tr',
      {},
      h('td', {}, timeText(entry.at)),
      h('td', { class: 'aiinfra-mod-number' }, after),
      h('td', {}, happened(entry, trans))
    );
  });
  const table = h(
    'table',
    { class: 'aiinfra-JobPage-table aiinfra-JobPage-timeline' },
    h('thead', {}, h('tr', {}, ...head.map(name => h('th', { scope: 'col' }, name)))),
    h('tbody', {}, ...rows)
  );
  return h('div', {}, barNode(item, now, trans), table);
}

function barNode(item: JobItem, now: number, trans: TranslationBundle): HTMLElement {
  const names = { waiting: trans.__('waited'), running: trans.__('ran') };
  const all = stretches(item, now);
  const parts = all.map(({ name, seconds }) => {
    const part = h('div', { class: `aiinfra-JobPage-bar-part aiinfra-mod-${name}` });
    part.style.flexGrow = String(Math.max(seconds, 0.001));
    return part;
  });
  const words = all.map(({ name, seconds }) => `${names[name]} ${durationText(seconds)}`);
  const points = [
    trans.__('launched %1', timeText(item.created_at)),
    item.started_at === null ? '' : trans.__('started %1', timeText(item.started_at)),
    item.ended_at === null ? '' : trans.__('ended %1', timeText(item.ended_at)),
    isActive(item) ? trans.__('now %1', timeText(now)) : ''
  ];
  return h(
    'div',
    { class: 'aiinfra-JobPage-bar' },
    h('p', {}, points.filter(Boolean).join('  →  ')),
    h('div', { class: 'aiinfra-JobPage-bar-parts', 'aria-hidden': 'true' }, ...parts),
    h('p', { class: 'aiinfra-quiet' }, words.join(' · '))
  );
}

/** The local date and time, to the second. */
export function timeText(at: number): string {
  return new Date(at * 1000).toLocaleString(undefined, {
    dateStyle: 'medium',
    timeStyle: 'medium'
  });
}
