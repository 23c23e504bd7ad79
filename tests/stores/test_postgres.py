"""The stores in PostgreSQL keep the contract, where ``OMAIM_TEST_POSTGRES`` names one."""

from twisted.trial.unittest import SynchronousTestCase

from tests.stores.postgres import URL

if URL:
    from tests.stores.postgres import *  # noqa: F403
else:

    class PostgresTests(SynchronousTestCase):
        """Stands for all of them."""

        def test_contract(self) -> None:
            """Nothing was tried."""

        test_contract.skip = "OMAIM_TEST_POSTGRES names no database: not tried"  # type: ignore[attr-defined]
