"""A running service seals its books by itself. (Its seals are verified at the end, with everything else.)"""

from __future__ import annotations

import asyncio

import aiohttp

from tests.support.service import RunningService


async def test_a_running_service_seals_what_is_new(service: RunningService) -> None:
    await service.issue_card(current_year_fen=3_000)
    credit = await service.base.pool.fetchrow(
        "select person_id || '/' || credit_id as row_key from account_credit order by credited_at desc limit 1"
    )
    assert credit is not None
    held = "select exists (select from seal_leaf where table_name = 'account_credit' and $1 = any (row_keys))"
    async with asyncio.timeout(60):
        while not await service.base.pool.fetchval(held, credit["row_key"]):
            await asyncio.sleep(0.1)
    async with aiohttp.ClientSession() as http, http.get(f"{service.base_url}/metrics") as answer:
        shown = await answer.text()
    for name in ("seals_total", "seal_failures_total 0.0", "seal_age_seconds", "unsealed_rows"):
        assert f"\nsettlement_{name}" in shown, shown
