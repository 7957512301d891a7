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
    check_replacing(server)
    check_buying_a_part(server)
    check_buying_after_the_end(server)
    check_shipping(server)
    check_cancelling(server)
    check_best_effort(server)
    check_dry_run(server)
    check_batch(server)
    check_pausing(server)
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


def states(server, name):
    return server.number("ReservationState", f"RESERVATION_STATE_{name}")


def portion(server, sku, quantity):
    return server.message(f"{PACKAGE}.Portion")(sku=sku, quantity=quantity)


def level(server, sku):
    (one,) = server.call("StockService", "GetStock", sku=sku).levels
    return one


def sold(server, sku, quantity):
    """A confirmed reservation."""
    reserve(server, key := uuid7(), (sku, quantity))
    act(server, "Confirm", key)
    return key


def check_replacing(server):
    count(server, DESK=3, SOFA=2)
    reserve(server, old := uuid7(), ("DESK", 3))
    line = server.message(f"{PACKAGE}.ReserveLine")

    def replacement(key, *lines, **more):
        lines = [line(sku=sku, quantity=quantity) for sku, quantity in lines]
        return {"reservation_id": key, "owner": "a stranger's cart", "lines": lines, **more}

    replace = ("ReservationService", "Replace")
    # Nobody is blocked by his own hold …
    made = server.call(*replace, replaced_reservation_id=old, reservation=replacement(new := uuid7(), ("DESK", 2)))
    assert made.reservation.predecessor_id == old and made.current_state == states(server, "HELD"), made
    gone = server.call("ReservationService", "GetReservation", reservation_id=old).reservation
    assert (gone.state, gone.successor_id) == (states(server, "RELEASED"), new), gone
    assert available(server, "DESK") == 1
    # … and what cannot be had leaves it as it is.
    too_many = replacement(uuid7(), ("DESK", 4))
    few = grpc.StatusCode.FAILED_PRECONDITION
    refused("INSUFFICIENT_STOCK", few, server.call, *replace, replaced_reservation_id=new, reservation=too_many)
    others = replacement(uuid7(), ("DESK", 1), owner="somebody else")
    refused("OWNER_MISMATCH", few, server.call, *replace, replaced_reservation_id=new, reservation=others)
    bad = replacement(uuid7(), ("DESK", 0))
    wrong = refused(
        "INVALID_FIELD",
        grpc.StatusCode.INVALID_ARGUMENT,
        server.call,
        *replace,
        replaced_reservation_id=new,
        reservation=bad,
    )
    assert wrong.fields() == ["reservation.lines[0].quantity"], wrong.fields()
    assert available(server, "DESK") == 1
    act(server, "Release", new)
    print("replaced a hold")


def check_buying_a_part(server):
    reserve(server, key := uuid7(), ("DESK", 3), ("SOFA", 2))
    bought = act(server, "Confirm", key, portions=[portion(server, "DESK", 1)], order_reference="A-17")
    parts = {line.sku: line.allocations[0] for line in bought.reservation.lines}
    assert (parts["DESK"].quantity, parts["DESK"].released_quantity) == (3, 2), parts
    assert parts["SOFA"].released_quantity == 2, parts
    assert (available(server, "DESK"), available(server, "SOFA")) == (2, 2)
    listed = server.call("ReservationService", "ListReservations", order_reference="A-17").reservations
    assert [one.reservation_id for one in listed] == [key], listed
    reserve(server, more := uuid7(), ("DESK", 1))
    exceeded = refused(
        "QUANTITY_EXCEEDED",
        grpc.StatusCode.FAILED_PRECONDITION,
        act,
        server,
        "Confirm",
        more,
        portions=[portion(server, "DESK", 2)],
    )
    assert exceeded.precondition.violations[0].subject == "sku/DESK", exceeded.precondition
    act(server, "Release", more)
    print("bought a part")


def check_buying_after_the_end(server):
    reserve(server, old := uuid7(), ("SOFA", 2), hold_duration={"seconds": 1})
    wait_until(lambda: available(server, "SOFA") == 2)
    bought = act(server, "Confirm", old, reacquire_reservation_id=(new := uuid7()))
    assert bought.reservation.reservation_id == new, bought
    assert bought.reservation.state == states(server, "CONFIRMED"), bought
    gone = server.call("ReservationService", "GetReservation", reservation_id=old).reservation
    assert (gone.state, gone.successor_id) == (states(server, "EXPIRED"), new), gone
    reserve(server, late := uuid7(), ("DESK", 2), hold_duration={"seconds": 1})
    wait_until(lambda: available(server, "DESK") == 2)
    reserve(server, quick := uuid7(), ("DESK", 2))
    few = grpc.StatusCode.FAILED_PRECONDITION
    refused("INSUFFICIENT_STOCK", few, act, server, "Confirm", late, reacquire_reservation_id=uuid7())
    refused("RESERVATION_EXPIRED", few, act, server, "Confirm", late)
    act(server, "Release", quick)
    print("bought after the end")


def check_shipping(server):
    count(server, BED=6, RUG=9)
    key = sold(server, "BED", 3)
    few = grpc.StatusCode.FAILED_PRECONDITION
    one = act(server, "Fulfil", key, portions=[portion(server, "BED", 1)])
    assert one.current_state == states(server, "CONFIRMED"), one
    refused("QUANTITY_EXCEEDED", few, act, server, "Fulfil", key, portions=[portion(server, "BED", 3)])
    rest = act(server, "Fulfil", key)
    assert rest.current_state == states(server, "FULFILLED"), rest
    refused("RESERVATION_FULFILLED", few, act, server, "Fulfil", key)
    back = server.message(f"{PACKAGE}.ReturnedPortion")
    broken = server.number("Condition", "CONDITION_DAMAGED")
    returned = act(server, "Return", key, returns=[back(portion=portion(server, "BED", 2), condition=broken)])
    assert returned.reservation.lines[0].allocations[0].returned_quantity == 2, returned
    (damaged,) = level(server, "BED").unsellable
    assert (damaged.condition, damaged.quantity) == (broken, 2), damaged
    refused(
        "QUANTITY_EXCEEDED",
        few,
        act,
        server,
        "Return",
        key,
        returns=[back(portion=portion(server, "BED", 2), condition=broken)],
    )
    print("shipped, and took back")


def check_cancelling(server):
    key = sold(server, "RUG", 4)
    few = grpc.StatusCode.FAILED_PRECONDITION
    act(server, "Cancel", key, portions=[portion(server, "RUG", 1)])
    assert (level(server, "RUG").committed, available(server, "RUG")) == (3, 6)
    # What the vendor was told of stays deducted until it has taken the cancellation.
    kind = lambda name: server.number("EvidenceKind", f"EVIDENCE_KIND_{name}")
    act(server, "RecordEvidence", key, kind=kind("SENT"))
    cancelled = act(server, "Cancel", key)
    assert cancelled.current_state == states(server, "CANCELLED"), cancelled
    assert level(server, "RUG").committed == 3
    act(server, "RecordEvidence", key, kind=kind("CANCELLATION_TAKEN"))
    assert (level(server, "RUG").committed, available(server, "RUG")) == (0, 9)
    refused("RESERVATION_CANCELLED", few, act, server, "Fulfil", key)
    reserve(server, held := uuid7(), ("RUG", 1))
    refused("RESERVATION_NOT_CONFIRMED", few, act, server, "Cancel", held)
    act(server, "Release", held)
    print("cancelled")


def check_best_effort(server):
    best = server.number("ReserveMode", "RESERVE_MODE_BEST_EFFORT")
    held = reserve(server, key := uuid7(), ("RUG", 12), ("LAMP", 1), mode=best).reservation
    assert [(line.sku, line.quantity) for line in held.lines] == [("RUG", 9)], held
    missing = {(one.sku, one.requested_quantity, one.available_quantity) for one in held.shortages}
    assert missing == {("RUG", 12, 9), ("LAMP", 1, 0)}, missing
    few = grpc.StatusCode.FAILED_PRECONDITION
    refused("INSUFFICIENT_STOCK", few, reserve, server, uuid7(), ("LAMP", 1), mode=best)
    act(server, "Release", key)
    print("took what there was")


def check_dry_run(server):
    said = reserve(server, key := uuid7(), ("RUG", 2), validate_only=True)
    assert said.reservation.lines[0].quantity == 2, said
    refused(
        "NOT_FOUND",
        grpc.StatusCode.NOT_FOUND,
        server.call,
        "ReservationService",
        "GetReservation",
        reservation_id=key,
    )
    assert available(server, "RUG") == 9
    # The key is free: the real one lands.
    assert not reserve(server, key, ("RUG", 2)).replayed
    act(server, "Confirm", key, validate_only=True)
    read = server.call("ReservationService", "GetReservation", reservation_id=key)
    assert read.reservation.state == states(server, "HELD"), read
    act(server, "Release", key)
    print("tried without doing")


def check_batch(server):
    request = server.message(f"{PACKAGE}.ReserveRequest")
    line = server.message(f"{PACKAGE}.ReserveLine")
    cart = lambda sku, quantity: request(
        reservation_id=uuid7(), owner="a stranger's cart", lines=[line(sku=sku, quantity=quantity)]
    )
    carts = [cart("RUG", 2), cart("RUG", 99), cart("UNHEARD-OF", 1), cart("RUG", 3)]
    results = server.call("ReservationService", "BatchReserve", requests=carts).results
    assert [result.reservation_id for result in results] == [one.reservation_id for one in carts]
    assert [result.WhichOneof("outcome") for result in results] == ["reserved", "failure", "failure", "reserved"]
    short, unknown = results[1].failure, results[2].failure
    assert short.code == grpc.StatusCode.FAILED_PRECONDITION.value[0], short
    assert (short.shortages[0].sku, short.shortages[0].requested_quantity) == ("RUG", 99), short
    assert list(unknown.fields) == ["lines[0].sku"], unknown
    assert available(server, "RUG") == 4
    twice = refused(
        "INVALID_FIELD",
        grpc.StatusCode.INVALID_ARGUMENT,
        server.call,
        "ReservationService",
        "BatchReserve",
        requests=[carts[0], carts[0]],
    )
    assert twice.fields() == ["requests[1].reservation_id"], twice.fields()
    for one in (carts[0], carts[3]):
        act(server, "Release", one.reservation_id)
    print("reserved several carts")


def check_pausing(server):
    by = {"actor": "a stranger", "note": "the price is wrong"}
    sell = lambda verb: server.call("StockService", verb, request_id=str(uuid.uuid4()), skus=["RUG"], **by)
    assert list(sell("PauseSelling").changed_skus) == ["RUG"]
    few = grpc.StatusCode.FAILED_PRECONDITION
    refused("SELLING_PAUSED", few, reserve, server, uuid7(), ("RUG", 1))
    (paused,) = server.call("StockService", "ListPausedSkus").paused_skus
    assert (paused.sku, paused.actor, paused.note) == ("RUG", by["actor"], by["note"]), paused
    assert list(sell("ResumeSelling").changed_skus) == ["RUG"]
    reserve(server, key := uuid7(), ("RUG", 1))
    act(server, "Release", key)
    # Moving units makes none.
    sellable, damaged = (server.number("Condition", f"CONDITION_{name}") for name in ["SELLABLE", "DAMAGED"])
    move = server.message(f"{PACKAGE}.Move")
    one = move(
        sku="RUG",
        from_location="main",
        from_condition=sellable,
        to_location="main",
        to_condition=damaged,
        quantity=2,
    )
    moved = server.call("StockService", "MoveStock", request_id=str(uuid.uuid4()), moves=[one], **by).levels
    assert [(row.on_hand, row.unsellable[0].quantity) for row in moved] == [(7, 2)], moved
    print("paused, resumed and moved")


if __name__ == "__main__":
    main(*sys.argv[1:])
