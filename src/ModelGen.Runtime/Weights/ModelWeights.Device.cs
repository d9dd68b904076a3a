namespace ModelGen.Runtime;

public sealed unsafe partial class ModelWeights
{
    private readonly Lock _deviceSync = new();
    private readonly List<DeviceCopy> _copies = [];

    // Which version of the weights is the newest, and which one this block holds: a device's copy may be ahead of it.
    private long _newestVersion;
    private long _hostVersion;
    private string? _loss;

    /// <summary>The weights on a device, which all sessions and trainers there share; the caller gives it back with <see cref="Release"/>.</summary>
    internal DeviceCopy Acquire(CudaContext context, nint stream)
    {
        lock (_deviceSync)
        {
            DeviceCopy? copy = _copies.Find(c => c.Context == context);
            if (copy is null)
            {
                copy = new DeviceCopy(context, new CudaMemory(context, checked(Length * sizeof(float)), stream, $"the weights of {Table.ModelName}"));
                _copies.Add(copy);
            }

            copy.Users++;
            return copy;
        }
    }

    /// <summary>Gives a device's copy back. With the last one that used it goes the copy, and what it alone knew comes to this block first.</summary>
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
                FetchInside();
            }
            catch (CudaException exception)
            {
                // Whoever asks for the weights is told: they are those of before the device's steps.
                _loss = exception.Message;
            }

            _copies.Remove(copy);
            copy.Memory.Dispose();
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
            copy.Context.Use();
            copy.Context.Driver.CopyToDevice(copy.Memory.Address, _block.Floats, checked(Length * sizeof(float)), 0, $"copying the weights of {Table.ModelName} to the device");
            copy.Context.Driver.Synchronize(0, $"copying the weights of {Table.ModelName} to the device");
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
            newest.Context.Use();
            newest.Context.Driver.CopyToHost(_block.Floats, newest.Memory.Address, checked(Length * sizeof(float)), 0, $"copying the weights of {Table.ModelName} from the device");
            newest.Context.Driver.Synchronize(0, $"copying the weights of {Table.ModelName} from the device");
            _hostVersion = _newestVersion;
        }
    }

    /// <summary>The weights in a device's memory.</summary>
    internal sealed class DeviceCopy(CudaContext context, CudaMemory memory)
    {
        public CudaContext Context { get; } = context;

        public CudaMemory Memory { get; } = memory;

        public int Users { get; set; }

        public long Version { get; set; }

        public bool IsFilled { get; set; }
    }
}
