"""Print the requests and answers of Modbus/TCP in words.

interpose 1502 plc:502 --script decode-modbus
"""

from interpose import Side
from interpose.framing import modbus

framing = modbus()

_FUNCTIONS = {
    1: "read coils",
    2: "read discrete inputs",
    3: "read holding registers",
    4: "read input registers",
    5: "write single coil",
    6: "write single register",
    15: "write multiple coils",
    16: "write multiple registers",
    22: "mask write register",
    23: "read and write registers",
    43: "read device identification",
}
_EXCEPTIONS = {1: "illegal function", 2: "illegal data address", 3: "illegal data value", 4: "device failure"}


def on_recv(side: Side, data: bytes) -> None:
    """Print one message: transaction, unit, function, and what it is about."""
    if side.partial or len(data) < 9:
        return
    transaction, unit, code = int.from_bytes(data[:2]), data[6], data[7]
    name = _FUNCTIONS.get(code & 0x7F, f"function {code & 0x7F}")
    about = data[8:].hex(" ")
    if code & 0x80:
        about = _EXCEPTIONS.get(data[8], f"exception {data[8]}")
    elif side.is_client and len(data) >= 12:
        about = f"at {int.from_bytes(data[8:10])}, {int.from_bytes(data[10:12])}"
    print(f"{side.connection.id} {'->' if side.is_client else '<-'} {transaction} unit {unit}: {name}: {about}")
