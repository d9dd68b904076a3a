namespace ModelGen.Runtime;

/// <summary>
/// Inflates bytes (RFC 1951), as many at a time as are asked for. A reader of its own, since the framework's brings a native library that deflates, too, into every program that
/// may meet a compressed archive.
/// </summary>
internal sealed class Inflater(Inflater.IInput input)
{
    private const int InputBytes = 1 << 14;
    private const int WindowBytes = 1 << 15;
    private const int LongestCode = 15;
    private const int EndOfBlock = 256;
    private const int Literals = 288;
    private const int Distances = 30;

    private static ReadOnlySpan<byte> LengthExtraBits => [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];

    private static ReadOnlySpan<short> LengthBases => [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258];

    // The order in which a block says how long the codes of its codes' lengths are.
    private static ReadOnlySpan<byte> LengthOrder => [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

    private readonly byte[] _window = new byte[WindowBytes];
    private readonly Codes _literals = new(), _distances = new();
    private readonly byte[] _input = new byte[InputBytes];
    private int _next, _end;
    private bool _isInputAtEnd;
    private ulong _bits;
    private int _count;

    // Zero bits that stand behind the input, which nothing may be made of.
    private int _padding;
    private int _at;
    private long _written;
    private bool _isLast;
    private Block _block;

    // Of a stored block, the bytes that are left; of the match that is being copied, those that are.
    private int _rest;
    private int _distance;

    /// <summary>Where the deflated bytes come from.</summary>
    public interface IInput
    {
        /// <summary>Gives the next bytes, one or more; none where there are no more.</summary>
        int Read(Span<byte> destination);
    }

    private enum Block
    {
        None,
        Stored,
        Coded,
        Done,
    }

    /// <summary>Reads bytes; fewer where the data ends, or is cut off.</summary>
    /// <exception cref="InvalidDataException">The data is damaged.</exception>
    public int Read(Span<byte> destination)
    {
        int read = 0;
        while (read < destination.Length && _block != Block.Done)
        {
            if (_block == Block.None)
            {
                Begin();
            }
            else if (_rest == 0 && _block == Block.Stored)
            {
                End();
            }
            else if (_rest > 0)
            {
                byte value;
                if (_distance > 0)
                {
                    value = _window[(_at - _distance) & (WindowBytes - 1)];
                }
                else if (!TryTake(8, out int stored))
                {
                    return read;
                }
                else
                {
                    value = (byte)stored;
                }

                _rest--;
                destination[read++] = Write(value);
            }
            else if (!TryDecode(_literals, out int symbol))
            {
                return read;
            }
            else if (symbol < EndOfBlock)
            {
                destination[read++] = Write((byte)symbol);
            }
            else if (symbol == EndOfBlock)
            {
                End();
            }
            else if (!TryMatch(symbol - EndOfBlock - 1))
            {
                return read;
            }
        }

        return read;
    }

    private byte Write(byte value)
    {
        _window[_at] = value;
        _at = (_at + 1) & (WindowBytes - 1);
        _written++;
        return value;
    }

    private void End()
    {
        _distance = 0;
        _block = _isLast ? Block.Done : Block.None;
    }

    private void Begin()
    {
        if (!TryTake(3, out int head))
        {
            _block = Block.Done;
            return;
        }

        _isLast = (head & 1) != 0;
        switch (head >> 1)
        {
            case 0:
                _bits >>= _count & 7;
                _count &= ~7;
                if (TryTake(16, out _rest) && TryTake(16, out int complement))
                {
                    Require((_rest ^ complement) == 0xFFFF);
                    _distance = 0;
                    _block = Block.Stored;
                    return;
                }

                break;
            case 1:
                Span<byte> lengths = stackalloc byte[Literals];
                lengths[..144].Fill(8);
                lengths[144..256].Fill(9);
                lengths[256..280].Fill(7);
                lengths[280..].Fill(8);
                _literals.Set(lengths);

                // 30 and 31 have codes too, which do not occur.
                lengths[..32].Fill(5);
                _distances.Set(lengths[..32]);
                _block = Block.Coded;
                return;
            case 2:
                if (TryReadCodes())
                {
                    _block = Block.Coded;
                    return;
                }

                break;
            default:
                Require(false);
                break;
        }

        _block = Block.Done;
    }

    private bool TryReadCodes()
    {
        if (!TryTake(5, out int literals) || !TryTake(5, out int distances) || !TryTake(4, out int order))
        {
            return false;
        }

        literals += 257;
        distances += 1;
        Require(literals <= 286 && distances <= Distances);
        Span<byte> lengths = stackalloc byte[286 + Distances];
        lengths.Clear();
        for (int i = 0; i < order + 4; i++)
        {
            if (!TryTake(3, out int length))
            {
                return false;
            }

            lengths[LengthOrder[i]] = (byte)length;
        }

        _literals.Set(lengths[..LengthOrder.Length]);
        lengths.Clear();
        for (int i = 0; i < literals + distances;)
        {
            if (!TryDecode(_literals, out int symbol))
            {
                return false;
            }

            if (symbol < 16)
            {
                lengths[i++] = (byte)symbol;
                continue;
            }

            if (!TryTake(symbol == 16 ? 2 : symbol == 17 ? 3 : 7, out int repeat))
            {
                return false;
            }

            repeat += symbol == 18 ? 11 : 3;
            Require(repeat <= literals + distances - i && (symbol > 16 || i > 0));
            lengths.Slice(i, repeat).Fill(symbol == 16 ? lengths[i - 1] : (byte)0);
            i += repeat;
        }

        Require(lengths[EndOfBlock] != 0);
        _literals.Set(lengths[..literals]);
        _distances.Set(lengths.Slice(literals, distances));
        return true;
    }

    private bool TryMatch(int length)
    {
        Require(length < LengthBases.Length);
        if (!TryTake(LengthExtraBits[length], out int more) || !TryDecode(_distances, out int symbol))
        {
            return false;
        }

        Require(symbol < Distances);
        int extra = Math.Max(0, (symbol >> 1) - 1);
        if (!TryTake(extra, out int further))
        {
            return false;
        }

        _rest = LengthBases[length] + more;
        _distance = (symbol < 2 ? symbol : (2 + (symbol & 1)) << extra) + 1 + further;
        Require(_distance <= _written);
        return true;
    }

    // At least 32 bits, of which those behind the input's end are zeros.
    private void Refill()
    {
        while (_count <= 56)
        {
            if (_next == _end && !_isInputAtEnd)
            {
                _next = 0;
                _end = input.Read(_input);
                _isInputAtEnd = _end == 0;
            }

            if (_next < _end)
            {
                _bits |= (ulong)_input[_next++] << _count;
            }
            else
            {
                _padding += 8;
            }

            _count += 8;
        }
    }

    private bool TryTake(int count, out int value)
    {
        if (_count < count)
        {
            Refill();
        }

        value = (int)(_bits & ((1UL << count) - 1));
        return TryDrop(count);
    }

    private bool TryDrop(int count)
    {
        _bits >>= count;
        _count -= count;
        if (_count >= _padding)
        {
            return true;
        }

        _block = Block.Done;
        return false;
    }

    private bool TryDecode(Codes codes, out int symbol)
    {
        if (_count < LongestCode)
        {
            Refill();
        }

        symbol = codes.Find((uint)_bits, out int count);
        if (symbol < 0 && _count - _padding < LongestCode)
        {
            // Cut off within a code.
            _block = Block.Done;
            return false;
        }

        Require(symbol >= 0);
        return TryDrop(count);
    }

    private static void Require(bool isSound)
    {
        if (!isSound)
        {
            throw new InvalidDataException("The deflated data is damaged.");
        }
    }

    /// <summary>Canonical Huffman codes: short ones are looked up, long ones counted through.</summary>
    private sealed class Codes
    {
        private const int LookUpBits = 9;

        private readonly short[] _counts = new short[LongestCode + 1];
        private readonly short[] _symbols = new short[Literals];

        // By the next bits: the symbol and, in the lowest four bits, its code's length; 0 where that is longer.
        private readonly short[] _byBits = new short[1 << LookUpBits];

        /// <summary>Takes the lengths of the symbols' codes, 0 for those that do not occur.</summary>
        public void Set(ReadOnlySpan<byte> lengths)
        {
            Array.Clear(_counts);
            Array.Clear(_byBits);
            foreach (byte length in lengths)
            {
                _counts[length]++;
            }

            _counts[0] = 0;
            Span<short> places = stackalloc short[LongestCode + 2];
            Span<int> codes = stackalloc int[LongestCode + 2];
            places.Clear();
            codes.Clear();
            int free = 1, used = 0;
            for (int length = 1; length <= LongestCode; length++)
            {
                free = (2 * free) - _counts[length];
                Require(free >= 0);
                used += _counts[length];
                places[length + 1] = (short)(places[length] + _counts[length]);
                codes[length + 1] = (codes[length] + _counts[length]) << 1;
            }

            // Codes that lead nowhere are for an alphabet of one symbol, or of none.
            Require(free == 0 || used == _counts[1]);
            for (int symbol = 0; symbol < lengths.Length; symbol++)
            {
                int length = lengths[symbol];
                if (length == 0)
                {
                    continue;
                }

                _symbols[places[length]++] = (short)symbol;
                int code = codes[length]++;
                if (length <= LookUpBits)
                {
                    int bits = 0;
                    for (int i = 0; i < length; i++)
                    {
                        bits |= ((code >> i) & 1) << (length - 1 - i);
                    }

                    for (; bits < _byBits.Length; bits += 1 << length)
                    {
                        _byBits[bits] = (short)((symbol << 4) | length);
                    }
                }
            }
        }

        /// <summary>The symbol that bits begin with, and how many they are; −1 if none.</summary>
        public int Find(uint bits, out int count)
        {
            if (_byBits[bits & ((1 << LookUpBits) - 1)] is not 0 and short found)
            {
                count = found & 15;
                return found >> 4;
            }

            int code = 0, first = 0, index = 0;
            for (count = 1; count <= LongestCode; count++)
            {
                code |= (int)(bits & 1);
                bits >>= 1;
                if (code - first < _counts[count])
                {
                    return _symbols[index + code - first];
                }

                index += _counts[count];
                first = (first + _counts[count]) << 1;
                code <<= 1;
            }

            return -1;
        }
    }
}
