import { afterEach, describe, expect, it, vi } from 'vitest';

import { MOST_TABS, RankTabs, type ILogTab } from '../ranktabs';

function tab(rank: number, given: Partial<ILogTab> = {}): ILogTab {
  return { key: String(rank), label: `rank ${rank}`, bad: false, ...given };
}

function show(): { tabs: RankTabs; panel: HTMLElement; onSelect: (key: string) => void } {
  const panel = document.createElement('div');
  panel.id = 'panel';
  const onSelect = vi.fn();
  const tabs = new RankTabs({ id: 'job', panel, onSelect });
  document.body.append(tabs.node, panel);
  return { tabs, panel, onSelect };
}

function texts(selector: string): (string | null)[] {
  return [...document.querySelectorAll(selector)].map(each => each.textContent);
}

afterEach(() => document.body.replaceChildren());

describe('the choice of a log', () => {
  it('is tabs where there are few, the first of each node with its name', () => {
    const { tabs, panel } = show();
    const four = [0, 1, 2, 3].map(rank => tab(rank, { group: rank < 2 ? 'gpu1' : 'gpu2' }));
    tabs.update(four, '0');

    expect(texts('[role=tab]')).toEqual(['gpu1 · rank 0', 'rank 1', 'gpu2 · rank 2', 'rank 3']);
    expect(panel.getAttribute('role')).toBe('tabpanel');
    expect(document.querySelector('label')?.parentElement?.hidden).toBe(true);
  });

  it('names no node where there is but one', () => {
    const { tabs } = show();
    tabs.update([tab(0), tab(1)], '0');
    expect(texts('[role=tab]')).toEqual(['rank 0', 'rank 1']);
  });

  it('is a list by nodes where there are many, with what failed in words', () => {
    const { tabs, panel, onSelect } = show();
    const many = Array.from({ length: 64 }, (_, rank) =>
      tab(rank, { group: `gpu${Math.floor(rank / 8)}`, bad: rank === 9 })
    );
    tabs.update(many, '0');

    expect(document.querySelectorAll('[role=tab]')).toHaveLength(0);
    expect(panel.getAttribute('role')).toBe('region');
    const groups = [...document.querySelectorAll('optgroup')];
    expect(groups.map(each => each.label)).toEqual(
      many.filter((_, at) => at % 8 === 0).map(each => each.group)
    );
    expect(texts('option')[9]).toBe('rank 9: failed');
    const select = document.querySelector('select') as HTMLSelectElement;
    expect(select.labels[0]?.textContent).toBe('Log');
    select.value = '42';
    select.dispatchEvent(new Event('change'));
    expect(onSelect).toHaveBeenCalledWith('42');

    const [option] = select.options;
    tabs.update(many, '42');
    expect(select.value).toBe('42');
    // What is open stays open: it is not drawn anew for nothing.
    expect(select.options[0]).toBe(option);
  });

  it('is a list where the tabs do not fit, and tabs again once they do', () => {
    const width = vi.spyOn(HTMLElement.prototype, 'clientWidth', 'get').mockReturnValue(300);
    const needed = vi.spyOn(HTMLElement.prototype, 'scrollWidth', 'get').mockReturnValue(500);
    const { tabs } = show();
    const list = document.querySelector('select')?.parentElement as HTMLElement;
    tabs.update([tab(0), tab(1)], '0');
    expect(list.hidden).toBe(false);
    width.mockReturnValue(600);
    tabs.update([tab(0), tab(1)], '1');
    expect(list.hidden).toBe(true);
    expect(document.querySelector('[aria-selected=true]')?.textContent).toBe('rank 1');
    width.mockRestore();
    needed.mockRestore();
  });

  it('changes from the one to the other as there come more', () => {
    const { tabs } = show();
    const all = Array.from({ length: MOST_TABS + 1 }, (_, rank) => tab(rank));
    tabs.update(all.slice(1), '1');
    expect(texts('[role=tab]')).toHaveLength(MOST_TABS);
    tabs.update(all, '1');
    const select = document.querySelector('select') as HTMLSelectElement;
    expect([select.value, select.parentElement?.hidden]).toEqual(['1', false]);
    expect(document.querySelector<HTMLElement>('[role=tablist]')?.hidden).toBe(true);
  });
});
