namespace ModelGen.Runtime;

public sealed unsafe partial class ModelWeights
{
    private readonly Lock _deviceSync = new();
    private readonly List<DeviceCopy> _copies = [];

    // Which version of the weights is the newest, and which one this block holds: a device's copy may be ahead of it.
    private long _newestVersion;
    private long _hostVersion;
    private string? _loss;
    private string? _putting;
    private string? _fetching;

    // What messages say is made once: an optimizer of one's own has weights copied at every step.
    private string Putting => _putting ??= $"copying the weights of {Table.ModelName} to the device";

    private string Fetching => _fetching ??= $"copying the weights of {Table.ModelName} from the device";

    /// <summary>The weights on a device, which all sessions and trainers there share; the caller gives it back with <see cref="Release"/>.</summary>
    /// <param name="context">The device.</param>
    /// <param name="places">Where parameters lie there; null where as here.</param>
    internal DeviceCopy Acquire(CudaContext context, CudaWeights? places)
    {
        lock (_deviceSync)
        {
            DeviceCopy? copy = _copies.Find(c => c.Context == context);
            if (copy is null)
            {
                copy = new DeviceCopy(context, checked((places?.Length ?? Length) * sizeof(float)), $"the weights of {Table.ModelName}") { Places = places };
                _copies.Add(copy);
            }

            copy.Users++;
            return copy;
        }
    }

    /// <summary>
    /// Gives a device's copy back. With the last one that used it goes the copy, and what it alone knew comes to this block first. A device that has
    /// failed is given back too: nothing is thrown.
    /// </summary>
    internal void Release(DeviceCopy copy)
    {
        lock (_deviceSync)
        {
            if (--copy.Users > 0)
            {
                return;
            }

            try
            {
                if (copy.IsFilled && copy.Version == _newestVersion && _loss is null)
                {
                    FetchInside();
                }
            }
            catch (Exception exception) when (exception is CudaException or InvalidOperationException)
            {
                // Whoever asks for the weights is told: they are those of before the device's steps.
                _loss = exception.Message;
            }
            finally
            {
                _copies.Remove(copy);
                copy.Dispose();
            }
        }
    }

    /// <summary>Brings a device's copy up to date, if it is not.</summary>
    internal void Update(DeviceCopy copy)
    {
        lock (_deviceSync)
        {
            if (copy.Version == _newestVersion && copy.IsFilled)
            {
                return;
            }

            FetchInside();
            Copy(copy, toDevice: true);
            copy.Version = _newestVersion;
            copy.IsFilled = true;
        }

        GC.KeepAlive(this);
    }

    /// <summary>Says that a device's copy has changed.</summary>
    internal void ChangedOn(DeviceCopy copy)
    {
        lock (_deviceSync)
        {
            copy.Version = ++_newestVersion;
        }
    }

    /// <summary>Says that this block has changed, or that it may be about to.</summary>
    private void ChangedHere()
    {
        lock (_deviceSync)
        {
            _hostVersion = ++_newestVersion;
        }
    }

    /// <summary>Says that all of this block was written over: what a device knew, or has lost, is of no matter any more.</summary>
    private void OverwrittenHere()
    {
        lock (_deviceSync)
        {
            _loss = null;
            _hostVersion = ++_newestVersion;
        }
    }

    /// <summary>Copies to this block what a device has done since it was copied last.</summary>
    private void Fetch()
    {
        if (Volatile.Read(ref _hostVersion) != Volatile.Read(ref _newestVersion) || _loss is not null)
        {
            lock (_deviceSync)
            {
                FetchInside();
            }
        }
    }

    private void FetchInside()
    {
        if (_loss is { } reason)
        {
            throw new InvalidOperationException($"The weights of {Table.ModelName} were on a device that failed, and could not be fetched: {reason}");
        }

        if (_hostVersion != _newestVersion)
        {
            DeviceCopy newest = _copies.Find(c => c.IsFilled && c.Version == _newestVersion) ?? throw new InvalidOperationException("No device has the newest weights.");
            Copy(newest, toDevice: false);
            _hostVersion = _newestVersion;
        }
    }

    private void Copy(DeviceCopy copy, bool toDevice)
    {
        CudaDriver driver = copy.Context.Driver;
        long bytes = checked(Length * sizeof(float));
        copy.Context.Use();
        try
        {
            if (copy.Places is { Offsets.Length: > 0 } places)
            {
                CopyPlaced(copy, places, toDevice);
            }
            else if (toDevice)
            {
                driver.CopyToDevice(copy.Memory.Address, _block.Floats, bytes, copy.Stream, Putting);
            }
            else
            {
                driver.CopyToHost(_block.Floats, copy.Memory.Address, bytes, copy.Stream, Fetching);
            }

            if (toDevice)
            {
                copy.Round();
            }

            driver.Synchronize(copy.Stream, toDevice ? Putting : Fetching);
        }
        catch (CudaException)
        {
            // Nothing is copied behind the exception.
            driver.TrySynchronize(copy.Context.Handle, copy.Stream);
            throw;
        }
    }

    /// <summary>
    /// Copies parameters that lie elsewhere on the device, and those to single precision that are packed here and not there. What is trained is single precision in both, and all that ever comes back.
    /// </summary>
    private void CopyPlaced(DeviceCopy copy, CudaWeights places, bool toDevice)
    {
        const long Chunk = 1 << 20;
        CudaDriver driver = copy.Context.Driver;
        int parameters = Table.Parameters.Count;
        for (int index = 0; index < parameters + Table.Tables.Length; index++)
        {
            ParameterInfo parameter = index < parameters ? Table.Parameters[index] : Table.Tables[index - parameters];
            long offset = places.Offsets[index];
            bool isWidened = Array.BinarySearch(places.Widened, index) >= 0;
            float* here = _block.Floats + parameter.Offset;
            ulong there = copy.Memory.Address + (ulong)(offset * sizeof(float));
            if (!toDevice)
            {
                if (!parameter.IsFrozen && !parameter.IsTable)
                {
                    driver.CopyToHost(here, there, parameter.Words * sizeof(float), copy.Stream, Fetching);
                }

                continue;
            }

            if (!isWidened)
            {
                driver.CopyToDevice(there, here, parameter.Words * sizeof(float), copy.Stream, Putting);
                continue;
            }

            int columns = parameter.Shape[^1];
            long rows = parameter.Length / columns, most = Math.Min(rows, Math.Max(1, Chunk / columns));
            using var widened = new NativeBlock(checked(most * columns * sizeof(float)));
            try
            {
                for (long first = 0; first < rows; first += most)
                {
                    long count = Math.Min(most, rows - first);
                    for (long row = 0; row < count; row++)
                    {
                        BlockRows.Read(parameter.Format, (byte*)here, first + row, columns, widened.Floats + (row * columns));
                    }

                    driver.CopyToDevice(there + (ulong)(first * columns * sizeof(float)), widened.Floats, count * columns * sizeof(float), copy.Stream, Putting);

                    // The device reads the rows where they lie, which the next ones are about to take.
                    driver.Synchronize(copy.Stream, Putting);
                }
            }
            catch (CudaException)
            {
                driver.TrySynchronize(copy.Context.Handle, copy.Stream);
                throw;
            }
        }
    }

    /// <summary>
    /// The weights in a device's memory, and a stream to copy them in, which waits for nobody's. The memory holds anything until the first copy, which
    /// is of all of it: clearing it in somebody's stream would be behind that of whoever was quicker.
    /// </summary>
    internal sealed class DeviceCopy : IDisposable
    {
        // What copies are made by, once there is something to copy.
        private CudaLauncher? _rounding;
        private CudaMemory? _table;
        private int _chunks;

        public DeviceCopy(CudaContext context, long bytes, string what)
        {
            Context = context;
            Memory = new CudaMemory(context, bytes, what);
            try
            {
                Stream = context.Driver.CreateStream();
            }
            catch
            {
                Memory.Dispose();
                throw;
            }
        }

        public CudaContext Context { get; }

        public CudaMemory Memory { get; }

        public nint Stream { get; }

        /// <summary>Where parameters lie there; null where as on the processor.</summary>
        public CudaWeights? Places { get; init; }

        /// <summary>Where the copy in bfloat16 of a weight's element begins, in bytes from the weights; 0 where there is none.</summary>
        /// <param name="offset">Where the element lies, in floats.</param>
        public long CopyOf(long offset)
        {
            foreach (CudaWeightCopy copy in Places?.Copies ?? [])
            {
                if (offset >= copy.From && offset < copy.From + copy.Length)
                {
                    return (copy.To * sizeof(float)) + ((offset - copy.From) * sizeof(ushort));
                }
            }

            return 0;
        }

        /// <summary>Makes the copies in bfloat16 what the weights are, behind what the stream was given.</summary>
        public void Round()
        {
            if (Places is not { Copies.Length: > 0 } places)
            {
                return;
            }

            if (_rounding is null)
            {
                PrepareRounding(places);
            }

            _rounding!.Launch(CudaOptimizers.Round, _chunks, 1, CudaOptimizers.Threads, [new CudaArgument(_table!.Address), new CudaArgument(Memory.Address)]);
        }

        private void PrepareRounding(CudaWeights places)
        {
            const int Chunk = 1 << 14;
            const string What = "copying the table of weights to the device";
            var table = new List<byte>();
            foreach (CudaWeightCopy copy in places.Copies)
            {
                for (long start = 0; start < copy.Length; start += Chunk)
                {
                    table.AddRange(BitConverter.GetBytes((copy.From + start) * sizeof(float)));
                    table.AddRange(BitConverter.GetBytes((int)Math.Min(Chunk, copy.Length - start)));
                    table.AddRange(BitConverter.GetBytes(0));
                    table.AddRange(BitConverter.GetBytes((copy.To * sizeof(float)) + (start * sizeof(ushort))));
                }
            }

            nint[] kernels = Context.Kernels(CudaOptimizers.Layout, "the optimizers");
            _chunks = table.Count / CudaOptimizers.ChunkBytes;
            _table ??= new CudaMemory(Context, table.Count, "the table of weights");
            fixed (byte* first = table.ToArray())
            {
                try
                {
                    Context.Driver.CopyToDevice(_table.Address, first, table.Count, Stream, What);
                }
                finally
                {
                    Context.Driver.TrySynchronize(Context.Handle, Stream);
                }
            }

            _rounding = new CudaLauncher(Context, CudaOptimizers.Layout, kernels, Stream);
        }

        public int Users { get; set; }

        public long Version { get; set; }

        public bool IsFilled { get; set; }

        public void Dispose()
        {
            Context.Driver.TrySynchronize(Context.Handle, Stream);
            Context.Driver.DestroyStream(Context.Handle, Stream);
            _table?.Dispose();
            Memory.Dispose();
        }
    }
}
