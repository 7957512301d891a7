"""Buys from a running reservation service as a stranger would.

Nothing of Holdfast's is imported: services and messages come from the server's reflection, errors are read from the
standard google.rpc details. Usage: checkout.py HOST:PORT, with a caller that may do everything.
"""

import sys
import time
import uuid
import secrets

import grpc
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

PACKAGE = "holdfast.reservation.v1"


class Reflected:
    """A server's services, callable by name, from nothing but its reflection (v1alpha)."""

    def __init__(self, channel):
        self.channel = channel
        self.stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        self.pool = descriptor_pool.DescriptorPool()
        self.files = set()

    def ask(self, **question):
        request = reflection_pb2.ServerReflectionRequest(**question)
        (answer,) = self.stub.ServerReflectionInfo(iter([request]), timeout=10)
        assert answer.WhichOneof("message_response") != "error_response", answer.error_response
        return answer

    def services(self):
        listed = self.ask(list_services="").list_services_response.service
        return [service.name for service in listed]

    def learn(self, symbol):
        answer = self.ask(file_containing_symbol=symbol)
        self._add(answer.file_descriptor_response.file_descriptor_proto)

    def _add(self, serialised):
        files = {}
        for one in serialised:
            file = descriptor_pb2.FileDescriptorProto.FromString(one)
            files[file.name] = file
        for file in files.values():
            self._add_with_imports(file, files)

    def _add_with_imports(self, file, files):
        if file.name in self.files:
            return
        self.files.add(file.name)
        for name in file.dependency:
            if name in files:
                self._add_with_imports(files[name], files)
            elif name not in self.files:
                answer = self.ask(file_by_filename=name)
                self._add(answer.file_descriptor_response.file_descriptor_proto)
        self.pool.Add(file)

    def message(self, name):
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(name))

    def call(self, service, method, **fields):
        """Calls a method with the request made of these fields."""
        descriptor = self.pool.FindServiceByName(f"{PACKAGE}.{service}").FindMethodByName(method)
        request = message_factory.GetMessageClass(descriptor.input_type)(**fields)
        answer = message_factory.GetMessageClass(descriptor.output_type)
        unary = self.channel.unary_unary(
            f"/{PACKAGE}.{service}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        return unary(request, timeout=10)

    def number(self, enum, name):
        return self.pool.FindEnumTypeByName(f"{PACKAGE}.{enum}").values_by_name[name].number


class Refusal:
    """A gRPC error with its details unpacked."""

    KINDS = {
        "info": error_details_pb2.ErrorInfo,
        "bad_request": error_details_pb2.BadRequest,
        "precondition": error_details_pb2.PreconditionFailure,
        "resource": error_details_pb2.ResourceInfo,
        "retry": error_details_pb2.RetryInfo,
    }

    def __init__(self, error):
        self.code = error.code()
        self.message = error.details()
        status = rpc_status.from_call(error)
        assert status is not None, f"no google.rpc.Status with {error}"
        assert (status.code, status.message) == (self.code.value[0], self.message), "two stories"
        for name, kind in self.KINDS.items():
            found = [self._unpacked(detail, kind) for detail in status.details if detail.Is(kind.DESCRIPTOR)]
            assert len(found) <= 1, f"{name} twice: {found}"
            setattr(self, name, found[0] if found else None)
        assert self.info is not None, f"no ErrorInfo in {status}"
        assert self.info.domain == "holdfast", self.info

    @staticmethod
    def _unpacked(detail: any_pb2.Any, kind):
        message = kind()
        assert detail.Unpack(message)
        return message

    @property
    def reason(self):
        return self.info.reason

    def fields(self):
        return [violation.field for violation in self.bad_request.field_violations]


def refused(reason, code, call, *args, **fields):
    """Makes a call that must be refused for this reason."""
    try:
        answer = call(*args, **fields)
    except grpc.RpcError as error:
        refusal = Refusal(error)
        assert (refusal.reason, refusal.code) == (reason, code), f"{refusal.reason} {refusal.code}: {refusal.message}"
        return refusal
    raise AssertionError(f"{reason} was expected, and not {answer}")


def uuid7():
    """A key: milliseconds since 1970, then chance."""
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    number = number & ~(0xF << 76) | 0x7 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=number))


def main(target):
    server = Reflected(grpc.insecure_channel(target))
    check_listed(server)
    for service in ["ReservationService", "StockService"]:
        server.learn(f"{PACKAGE}.{service}")
    count(server, CHAIR=10, TABLE=4, LAMP=0)
    check_buying(server)
    check_giving_back(server)
    check_extending(server)
    check_retries(server)
    check_too_few(server)
    check_bad_requests(server)
    check_missing(server)
    check_availability(server)
    check_ledger(server)
    print("all is well")


def check_listed(server):
    listed = server.services()
    wanted = [f"{PACKAGE}.ReservationService", f"{PACKAGE}.StockService", "grpc.health.v1.Health"]
    assert set(wanted) <= set(listed), listed


def count(server, **units):
    counts = server.message(f"{PACKAGE}.Count")
    answer = server.call(
        "StockService",
        "ApplyCounts",
        request_id=str(uuid.uuid4()),
        connection="house",
        run="opening",
        as_of_time={"seconds": int(time.time())},
        meaning=server.number("CountMeaning", "COUNT_MEANING_ON_HAND"),
        counts=[counts(sku=sku, location="main", quantity=quantity) for sku, quantity in units.items()],
    )
    applied = server.number("CountOutcome", "COUNT_OUTCOME_APPLIED")
    assert [result.outcome for result in answer.results].count(applied) >= 2, answer


def reserve(server, key, *lines, **more):
    line = server.message(f"{PACKAGE}.ReserveLine")
    lines = [line(sku=sku, quantity=quantity) for sku, quantity in lines]
    fields = {"reservation_id": key, "owner": "a stranger's cart", "lines": lines, **more}
    return server.call("ReservationService", "Reserve", **fields)


def act(server, verb, key, **more):
    return server.call("ReservationService", verb, request_id=str(uuid.uuid4()), reservation_id=key, **more)


def available(server, sku):
    record = server.number("ReadSource", "READ_SOURCE_RECORD")
    (result,) = server.call("StockService", "BatchGetAvailability", skus=[sku], source=record).results
    return result.available


def check_buying(server):
    state = lambda name: server.number("ReservationState", f"RESERVATION_STATE_{name}")
    key = uuid7()
    held = reserve(server, key, ("CHAIR", 2), ("TABLE", 1), ("CHAIR", 1))
    assert not held.replayed and held.current_state == state("HELD"), held
    assert [(line.sku, line.quantity) for line in held.reservation.lines] == [("CHAIR", 3), ("TABLE", 1)], held
    assert [part.location for line in held.reservation.lines for part in line.allocations] == ["main", "main"], held
    left = held.reservation.expire_time.seconds - held.reservation.create_time.seconds
    assert left == 15 * 60, f"held for {left} s by default"
    assert available(server, "CHAIR") == 7

    bought = act(server, "Confirm", key)
    assert bought.reservation.state == state("CONFIRMED"), bought
    read = server.call("ReservationService", "GetReservation", reservation_id=key)
    assert read.reservation == bought.reservation
    assert available(server, "CHAIR") == 7
    refused("RESERVATION_CONFIRMED", grpc.StatusCode.FAILED_PRECONDITION, act, server, "Release", key)
    print("bought")


def check_giving_back(server):
    key = uuid7()
    reserve(server, key, ("CHAIR", 7))
    assert available(server, "CHAIR") == 0
    released = act(server, "Release", key)
    assert released.current_state == server.number("ReservationState", "RESERVATION_STATE_RELEASED"), released
    assert available(server, "CHAIR") == 7
    refused("RESERVATION_RELEASED", grpc.StatusCode.FAILED_PRECONDITION, act, server, "Confirm", key)
    # A key that nobody used is closed by a release.
    unused = uuid7()
    act(server, "Release", unused)
    refused("RESERVATION_RELEASED", grpc.StatusCode.FAILED_PRECONDITION, reserve, server, unused, ("CHAIR", 1))
    assert available(server, "CHAIR") == 7
    print("gave back")


def check_extending(server):
    key = uuid7()
    held = reserve(server, key, ("CHAIR", 1), hold_duration={"seconds": 60})
    extended = act(server, "Extend", key, hold_duration={"seconds": 600})
    more = extended.reservation.expire_time.seconds - held.reservation.expire_time.seconds
    assert 539 <= more <= 550, f"{more} s more"
    # Longer than the longest, counted from when it was made.
    long = {"hold_duration": {"seconds": 24 * 3600}}
    refused("HOLD_TOO_LONG", grpc.StatusCode.FAILED_PRECONDITION, act, server, "Extend", key, **long)
    act(server, "Release", key)
    # A hold that is over.
    reserve(server, key := uuid7(), ("CHAIR", 1), hold_duration={"seconds": 1})
    wait_until(lambda: available(server, "CHAIR") == 7)
    refused("RESERVATION_EXPIRED", grpc.StatusCode.FAILED_PRECONDITION, act, server, "Confirm", key)
    print("extended, and let one expire")


def wait_until(condition):
    give_up = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < give_up, "not within 20 s"
        time.sleep(0.02)


def check_retries(server):
    key = uuid7()
    first = reserve(server, key, ("TABLE", 1))
    again = reserve(server, key, ("TABLE", 1), attempt=2)
    assert again.replayed and again.reservation == first.reservation, again
    assert available(server, "TABLE") == 2, "held once"
    other = refused("KEY_REUSED", grpc.StatusCode.ALREADY_EXISTS, reserve, server, key, ("TABLE", 2))
    assert not other.bad_request, other.bad_request
    assert available(server, "TABLE") == 2
    # The same for another verb: its key is the request's.
    request = {"request_id": str(uuid.uuid4()), "reservation_id": key}
    one = server.call("ReservationService", "Confirm", **request)
    two = server.call("ReservationService", "Confirm", **request)
    assert two.replayed and not one.replayed and two.reservation == one.reservation, two
    request["reservation_id"] = uuid7()
    confirm = ("ReservationService", "Confirm")
    refused("KEY_REUSED", grpc.StatusCode.ALREADY_EXISTS, server.call, *confirm, **request)
    print("retried")


def check_too_few(server):
    sold_out = refused(
        "INSUFFICIENT_STOCK",
        grpc.StatusCode.FAILED_PRECONDITION,
        reserve,
        server,
        key := uuid7(),
        ("CHAIR", 1),
        ("TABLE", 3),
        ("LAMP", 1),
    )
    short = {violation.subject: violation for violation in sold_out.precondition.violations}
    assert sorted(short) == ["sku/LAMP", "sku/TABLE"], short
    table = short["sku/TABLE"]
    assert table.type == "STOCK" and "3" in table.description and "2" in table.description, table
    assert available(server, "CHAIR") == 7, "all lines or none"
    # A no binds nothing …
    assert reserve(server, key, ("CHAIR", 1)).replayed is False
    act(server, "Release", key)
    # … but to a marked retry it closes the key.
    few = grpc.StatusCode.FAILED_PRECONDITION
    refused("INSUFFICIENT_STOCK", few, reserve, server, key := uuid7(), ("TABLE", 3), attempt=2)
    refused("INSUFFICIENT_STOCK", few, act, server, "Confirm", key)
    print("was told that there is too little")


def check_bad_requests(server):
    bad = grpc.StatusCode.INVALID_ARGUMENT
    all_at_once = refused(
        "INVALID_FIELD",
        bad,
        reserve,
        server,
        "not-a-key",
        ("CHAIR", 0),
        ("", 1),
        ("CHAIR", 2**62),
        ("X" * 129, -1),
        owner="",
        hold_duration={"seconds": -1},
    )
    fields = all_at_once.fields()
    wanted = {
        "reservation_id",
        "owner",
        "hold_duration",
        "lines[0].quantity",
        "lines[1].sku",
        "lines[2].quantity",
        "lines[3].sku",
        "lines[3].quantity",
    }
    assert set(fields) == wanted, fields
    assert all(violation.description for violation in all_at_once.bad_request.field_violations)
    assert all_at_once.info.metadata["violations"] == str(len(fields)), all_at_once.info

    # At most twenty are listed; the total is told.
    many = refused("INVALID_FIELD", bad, reserve, server, uuid7(), *[("CHAIR", 0)] * 50)
    assert len(many.fields()) == 20 and many.info.metadata["violations"] == "50", many.info
    lines = refused("INVALID_FIELD", bad, reserve, server, uuid7(), *[("CHAIR", 1)] * 101)
    assert lines.fields() == ["lines"], lines.fields()

    unknown = refused("UNKNOWN_SKU", bad, reserve, server, uuid7(), ("CHAIR", 1), ("UNHEARD-OF", 1))
    assert unknown.fields() == ["lines[1].sku"], unknown.fields()
    old = str(uuid.UUID(int=uuid.UUID(uuid7()).int - (48 * 3600 * 1000 << 80)))
    refused("KEY_OUT_OF_WINDOW", bad, reserve, server, old, ("CHAIR", 1))
    page = ("ReservationService", "ListReservations")
    refused("INVALID_PAGE_TOKEN", bad, server.call, *page, page_token="nonsense")
    assert available(server, "CHAIR") == 7, "nothing of it changed anything"
    print("was corrected")


def check_missing(server):
    refused("NOT_FOUND", grpc.StatusCode.NOT_FOUND, act, server, "Confirm", key := uuid7())
    read = ("ReservationService", "GetReservation")
    missing = refused("NOT_FOUND", grpc.StatusCode.NOT_FOUND, server.call, *read, reservation_id=key)
    assert (missing.resource.resource_type, missing.resource.resource_name) == ("reservation", key), missing.resource
    unheard = ("StockService", "GetStock")
    refused("NOT_FOUND", grpc.StatusCode.NOT_FOUND, server.call, *unheard, sku="UNHEARD-OF")
    # A method that is not there has a reason too.
    nowhere = server.channel.unary_unary(f"/{PACKAGE}.StockService/Steal", bytes, bytes)
    refused("UNKNOWN_METHOD", grpc.StatusCode.UNIMPLEMENTED, nowhere, b"", timeout=10)
    print("missed")


def check_availability(server):
    cache, record = (server.number("ReadSource", f"READ_SOURCE_{name}") for name in ["CACHE", "RECORD"])
    skus = ["TABLE", "UNHEARD-OF", "CHAIR", "LAMP", "CHAIR"]
    exact = server.call("StockService", "BatchGetAvailability", skus=skus, source=record).results
    assert [result.sku for result in exact] == skus
    assert [(result.known, result.available) for result in exact] == [
        (True, 2),
        (False, 0),
        (True, 7),
        (True, 0),
        (True, 7),
    ], exact
    assert all(result.source == record and result.staleness_max.ToNanoseconds() == 0 for result in exact)
    assert [(part.location, part.available) for part in exact[0].locations] == [("main", 2)]

    def published():
        results = server.call("StockService", "BatchGetAvailability", skus=["CHAIR"]).results
        (one,) = results
        return one.source == cache and one.available == 7 and one.staleness_max.ToNanoseconds() > 0

    wait_until(published)
    none = refused("INVALID_FIELD", grpc.StatusCode.INVALID_ARGUMENT, server.call, "StockService", "BatchGetAvailability")
    assert none.fields() == ["skus"], none.fields()
    print("looked")


def check_ledger(server):
    entries = server.call("StockService", "ListLedgerEntries", sku="TABLE").entries
    assert [entry.version for entry in entries] == list(range(len(entries), 0, -1)), entries
    held = sum(entry.held_delta for entry in entries)
    sold = sum(entry.committed_delta for entry in entries)
    (level,) = server.call("StockService", "GetStock", sku="TABLE").levels
    assert (level.held, level.committed, level.on_hand) == (held, sold, 4), level
    print("read the ledger")


if __name__ == "__main__":
    main(*sys.argv[1:])
