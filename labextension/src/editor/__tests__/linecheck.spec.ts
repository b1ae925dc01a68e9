import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { fakeApi } from '../../__tests__/fakes';
import type { LineReport } from '../../api/types';
import { RequestError } from '../../request';
import { LineCheck } from '../linecheck';
import { FakePools, FakeSource, pool } from './samples';

const RIGHT: LineReport = { pool: 'here', problems: [] };

function wrong(start: number, end: number, message = 'no'): LineReport {
  return { pool: null, problems: [{ start, end, message, hint: '' }] };
}

const asked = vi.fn<(line: string) => Promise<LineReport>>();

function check(source: FakeSource, pools: FakePools | null = null): LineCheck {
  return new LineCheck({ api: fakeApi({ checkLine: asked }), source, pools });
}

function hide(hidden: boolean): void {
  vi.spyOn(document, 'hidden', 'get').mockReturnValue(hidden);
  document.dispatchEvent(new Event('visibilitychange'));
}

beforeEach(() => {
  vi.useFakeTimers();
  asked.mockReset().mockResolvedValue(RIGHT);
});

afterEach(() => {
  vi.useRealTimers();
});

describe('the check of a line', () => {
  it('waits until nobody types, and asks once', async () => {
    const source = new FakeSource('%%accelerate h');
    const line = check(source);
    await vi.advanceTimersByTimeAsync(299);
    source.setSource('%%accelerate here');
    await vi.advanceTimersByTimeAsync(299);
    expect(asked).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(1);
    expect(asked.mock.calls).toEqual([[' here']]);
    line.dispose();
  });

  it('does not care for the rest of the cell', async () => {
    const source = new FakeSource('%%accelerate here\n');
    const line = check(source);
    await vi.advanceTimersByTimeAsync(300);
    source.setSource('%%accelerate here\nx = 1');
    await vi.advanceTimersByTimeAsync(1000);
    expect(asked).toHaveBeenCalledTimes(1);
    line.dispose();
  });

  it('says where in the cell a problem stands, whatever characters come before', async () => {
    const source = new FakeSource('\n%%accelerate 💡 heer\nx');
    asked.mockResolvedValue(wrong(3, 7));
    const line = check(source);
    await vi.advanceTimersByTimeAsync(300);
    const [problem] = line.problems;
    expect(source.getSource().slice(problem?.start, problem?.end)).toBe('heer');
    line.dispose();
  });

  it('puts what is wrong with the whole line at its magic', async () => {
    const source = new FakeSource('\n%%accelerate');
    asked.mockResolvedValue(wrong(0, 0));
    const line = check(source);
    await vi.advanceTimersByTimeAsync(300);
    const [problem] = line.problems;
    expect(source.getSource().slice(problem?.start, problem?.end)).toBe('%%accelerate');
    line.dispose();
  });

  it('drops an answer about a line that is no longer there', async () => {
    const source = new FakeSource('%%accelerate a');
    let answer: (report: LineReport) => void = () => undefined;
    asked.mockImplementationOnce(
      () =>
        new Promise(resolve => {
          answer = resolve;
        })
    );
    const line = check(source);
    const told = vi.fn();
    line.changed.connect(told);
    await vi.advanceTimersByTimeAsync(300);
    source.setSource('%%accelerate b');
    answer(wrong(1, 2));
    await vi.advanceTimersByTimeAsync(0);
    expect(told).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(300);
    expect(asked).toHaveBeenLastCalledWith(' b');
    expect(line.problems).toEqual([]);
    expect(told).toHaveBeenCalledTimes(1);
    line.dispose();
  });

  it('keeps silent while the page is hidden, and asks when it is seen', async () => {
    const source = new FakeSource('%%accelerate here');
    hide(true);
    const line = check(source);
    await vi.advanceTimersByTimeAsync(5000);
    expect(asked).not.toHaveBeenCalled();
    hide(false);
    await vi.advanceTimersByTimeAsync(0);
    expect(asked).toHaveBeenCalledTimes(1);
    hide(false);
    expect(asked).toHaveBeenCalledTimes(1);
    line.dispose();
  });

  it('asks again when other pools are attached, and only then', async () => {
    const pools = new FakePools([pool('here')]);
    const line = check(new FakeSource('%%accelerate there'), pools);
    await vi.advanceTimersByTimeAsync(300);
    pools.set([pool('here', { status: 'unreachable' })]);
    await vi.advanceTimersByTimeAsync(300);
    expect(asked).toHaveBeenCalledTimes(1);
    pools.set([pool('here'), pool('there')]);
    await vi.advanceTimersByTimeAsync(300);
    expect(asked).toHaveBeenCalledTimes(2);
    line.dispose();
  });

  it('keeps what it knew when the server is away', async () => {
    const source = new FakeSource('%%accelerate a');
    asked.mockResolvedValueOnce(wrong(1, 2));
    const line = check(source);
    await vi.advanceTimersByTimeAsync(300);
    asked.mockRejectedValueOnce(new RequestError('unreachable', 'gone'));
    source.setSource('%%accelerate ab');
    await vi.advanceTimersByTimeAsync(300);
    expect(line.problems).toHaveLength(1);
    line.dispose();
  });

  it('is over when disposed', async () => {
    const source = new FakeSource('%%accelerate a');
    const line = check(source);
    line.dispose();
    line.dispose();
    source.setSource('%%accelerate b');
    await vi.advanceTimersByTimeAsync(1000);
    expect(asked).not.toHaveBeenCalled();
    expect(line.isDisposed).toBe(true);
  });
});
