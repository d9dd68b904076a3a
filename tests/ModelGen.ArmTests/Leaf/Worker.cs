namespace ModelGen.Runtime;

/// <summary>
/// A team of one, in place of the runtime's worker, whose threads need an operating system: to emitted code it looks the same. A kernel
/// opens and takes its share on its own copy.
/// </summary>
public unsafe struct Worker(byte* scratch, long scratchBytes)
{
    private readonly byte* _scratch = scratch;
    private readonly long _scratchBytes = scratchBytes;
    private int _units;
    private int _items;
    private int _next;
    private int _foreseen;

    public readonly int Index => 0;

    public readonly int Count => 1;

    public readonly byte* Scratch => _scratch;

    public readonly long ScratchBytes => _scratchBytes;

    public int Unit { get; private set; }

    public int Round { get; private set; }

    public bool IsForeseen { get; private set; }

    public readonly void Barrier()
    {
    }

    public readonly void Range(int total, int granularity, out int start, out int end)
    {
        start = 0;
        end = total;
    }

    public readonly void Range(long total, int granularity, out long start, out long end)
    {
        start = 0;
        end = total;
    }

    public void Share(int units, int rounds = 1)
    {
        _units = units;
        _items = units * rounds;
        _next = 0;
        _foreseen = -1;
    }

    public bool Take()
    {
        if (_next == _items)
        {
            return false;
        }

        IsForeseen = _next == _foreseen;
        Round = _next / _units;
        Unit = _next % _units;
        _next++;
        return true;
    }

    public bool Take(int least, int most, out int first, out int last)
    {
        first = _next;
        last = first + most < _items ? first + most : _items;
        _next = last;
        return first < last;
    }

    public bool Foresee(int limit, out int unit, out int round)
    {
        (unit, round) = (0, 0);
        bool any = _next < _items && _next % _units < limit;
        _foreseen = any ? _next : -1;
        if (any)
        {
            (unit, round) = (_next % _units, _next / _units);
        }

        return any;
    }
}
