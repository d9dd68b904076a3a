namespace ModelGen.Runtime;

/// <summary>
/// A session's or a trainer's products that cuBLASLt computes: their descriptions, the algorithm of each, which is asked for once, and the memory that the algorithms work in. The library has columns where rows are
/// here, so that it multiplies the right factor with the left one and gives the result's rows as its columns, and a vector for all columns here is one for its rows. Algorithms that add parts of the contracted extent as these happen to
/// come are not used: a product has the same bits in every run. What the library refuses is computed by other kernels.
/// </summary>
internal sealed unsafe class CublasLtProducts : IDisposable
{
    /// <summary><c>CUDA_R_32F</c>.</summary>
    public const int Float32 = 0;

    // CUDA_R_16BF, CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_32F_FAST_TF32.
    private const int BFloat16 = 14;
    private const int ComputeFloat32 = 68;
    private const int ComputeTf32 = 77;

    // cublasLtMatmulDescAttributes_t.
    private const int PointerMode = 2;
    private const int TransposesA = 3;
    private const int TransposesB = 4;
    private const int Epilogue = 7;
    private const int BiasPointer = 8;

    // cublasLtPointerMode_t, cublasOperation_t, cublasLtEpilogue_t.
    private const int PointersOfDevice = 1;
    private const int Transposed = 1;
    private const uint EpilogueDefault = 1;
    private const uint EpilogueRelu = 2;
    private const uint EpilogueBias = 4;
    private const uint EpilogueGelu = 32;

    // cublasLtMatmulPreferenceAttributes_t.
    private const int MaximumWorkspace = 1;
    private const int ReductionSchemes = 3;
    private const int AlignmentA = 5;

    // CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE: parts of the contracted extent are summed by themselves, in single precision, and added in order; or there are none.
    private const uint PartsInOrder = 2;

    // What algorithms may work in: what NVIDIA recommends for its newest devices.
    private const ulong WorkspaceLimit = 32L << 20;

    private readonly CublasLtLibrary _library;
    private readonly nint _handle;
    private readonly CudaProduct[] _products;
    private readonly Plan[] _plans;
    private CudaMemory? _workspace;

    private CublasLtProducts(CublasLtLibrary library, nint handle, CudaProduct[] products)
        => (_library, _handle, _products, _plans) = (library, handle, products, new Plan[products.Length]);

    /// <summary>The library and its version.</summary>
    public string Library => _library.ToString();

    /// <summary>The library, its version, and which products it computes: what results depend on.</summary>
    public override string ToString() => $"{Library}: {string.Concat(_plans.Select(plan => plan.IsReady ? '1' : '0'))}";

    /// <summary>Plans what the library computes of a layout's products; null where that is nothing.</summary>
    /// <param name="context">The device, whose context is that of the thread.</param>
    /// <param name="products">The products.</param>
    /// <param name="modelName">The model, for messages.</param>
    /// <param name="limitations">Where it is said what the library does not compute, and why.</param>
    /// <exception cref="CudaException">The device has no memory for the algorithms to work in.</exception>
    public static CublasLtProducts? Of(CudaContext context, CudaProduct[] products, string modelName, List<string> limitations)
    {
        if (products.Length == 0)
        {
            return null;
        }

        CublasLtProducts? planned = null;
        try
        {
            (CublasLtLibrary library, nint handle) = context.ProductLibrary();
            planned = new CublasLtProducts(library, handle, products);
        }
        catch (CudaException exception)
        {
            limitations.Add($"Large products of {modelName} are not cuBLASLt's. {exception.Message}");
            return null;
        }

        try
        {
            long workspace = 0;
            for (int i = 0; i < products.Length; i++)
            {
                try
                {
                    planned.Prepare(i);
                    workspace = Math.Max(workspace, (long)planned._plans[i].Best.WorkspaceBytes);
                }
                catch (CudaException exception)
                {
                    planned.Forget(i);
                    limitations.Add($"{products[i].Name} of {modelName} is not cuBLASLt's. {exception.Message}");
                }
            }

            if (!planned._plans.Any(plan => plan.IsReady))
            {
                planned.Dispose();
                return null;
            }

            planned._workspace = workspace > 0 ? new CudaMemory(context, workspace, $"cuBLASLt's algorithms for {modelName}") : null;
            return planned;
        }
        catch
        {
            planned.Dispose();
            throw;
        }
    }

    /// <summary>Whether the library computes a product.</summary>
    public bool Computes(int product) => _plans[product].IsReady;

    /// <summary>Computes a product in a stream.</summary>
    /// <param name="number">The product.</param>
    /// <param name="left">The left factor.</param>
    /// <param name="right">The right factor.</param>
    /// <param name="source">What it is added to.</param>
    /// <param name="result">The result.</param>
    /// <param name="bias">The vector that is added to each row.</param>
    /// <param name="run">The run's record.</param>
    /// <param name="stream">The stream.</param>
    /// <exception cref="CudaException">The library refuses.</exception>
    public void Multiply(int number, ulong left, ulong right, ulong source, ulong result, ulong bias, ulong run, nint stream)
    {
        CudaProduct product = _products[number];
        if (HasBias(product))
        {
            _library.Set(_plans[number].Description, BiasPointer, bias, "giving a product its bias");
        }

        // What changes from run to run is read where the device has it, so that a captured product need not change.
        float* numbers = stackalloc float[] { 1, product.Sum == CudaProductSum.Adds ? 1 : 0 };
        bool ofDevice = product.Sum == CudaProductSum.AddsWhenAccumulating;
        void* alpha = ofDevice ? (void*)(run + CudaExecution.RecordOne) : numbers, beta = ofDevice ? (void*)(run + CudaExecution.RecordOne + sizeof(float)) : numbers + 1;
        fixed (Plan* plan = &_plans[number])
        {
            int status = _library.Multiply(
                _handle, plan->Description, alpha, right, plan->A, left, plan->B, beta, source, plan->C, result, plan->D, &plan->Best.Algorithm, _workspace?.Address ?? 0, (long)plan->Best.WorkspaceBytes, stream);
            if (status != 0)
            {
                _library.Check(status, "cublasLtMatmul", $"multiplying {product.Name}");
            }
        }
    }

    public void Dispose()
    {
        for (int i = 0; i < _plans.Length; i++)
        {
            Forget(i);
        }

        _workspace?.Dispose();
    }

    private static bool HasBias(CudaProduct product) => product.Alignments[4] != 0;

    private void Prepare(int number)
    {
        CudaProduct product = _products[number];
        ref Plan plan = ref _plans[number];
        string what = $"asking cuBLASLt for {product.Name}";
        int factors = product.Precision == CudaPrecision.BF16 ? BFloat16 : Float32;
        plan.Description = _library.CreateDescription(product.Precision == CudaPrecision.TF32 ? ComputeTf32 : ComputeFloat32, what);
        if (product.Form == CudaProductForm.NT)
        {
            _library.Set(plan.Description, TransposesA, Transposed, what);
        }

        if (product.Form == CudaProductForm.TN)
        {
            _library.Set(plan.Description, TransposesB, Transposed, what);
        }

        if (product.Sum == CudaProductSum.AddsWhenAccumulating)
        {
            _library.Set(plan.Description, PointerMode, PointersOfDevice, what);
        }

        uint epilogue = (HasBias(product) ? EpilogueBias : 0) | product.Activation switch { CudaProductActivation.Relu => EpilogueRelu, CudaProductActivation.GeluTanh => EpilogueGelu, _ => 0 };
        _library.Set(plan.Description, Epilogue, epilogue == 0 ? EpilogueDefault : epilogue, what);
        if (HasBias(product))
        {
            // Its alignment is all that is looked at before there is one.
            _library.Set(plan.Description, BiasPointer, (ulong)product.Alignments[4], what);
        }

        // Rows here are columns there.
        (int rows, int columns, int depth) = (product.Rows, product.Columns, product.Depth);
        plan.A = product.Form == CudaProductForm.NT ? Layout(depth, columns, 1) : Layout(columns, depth, 1);
        plan.B = product.Form == CudaProductForm.TN ? Layout(rows, depth, 0) : Layout(depth, rows, 0);
        plan.C = _library.CreateLayout(Float32, columns, rows, product.Strides[2], what);
        plan.D = _library.CreateLayout(Float32, columns, rows, product.Strides[3], what);
        nint preference = _library.CreatePreference(what);
        try
        {
            _library.Prefer(preference, MaximumWorkspace, WorkspaceLimit, what);
            _library.Prefer(preference, ReductionSchemes, PartsInOrder, what);
            ReadOnlySpan<int> operands = [1, 0, 2, 3];
            for (int i = 0; i < operands.Length; i++)
            {
                _library.Prefer(preference, AlignmentA + i, (uint)product.Alignments[operands[i]], what);
            }

            plan.Best = _library.Recommend(_handle, plan.Description, plan.A, plan.B, plan.C, plan.D, preference, what);
        }
        finally
        {
            _library.DestroyPreference(preference);
        }

        if (plan.Best.WorkspaceBytes > WorkspaceLimit)
        {
            throw new CudaException(FormattableString.Invariant($"{product.Name} would want {plan.Best.WorkspaceBytes:N0} bytes to work in, and may have {WorkspaceLimit:N0}."));
        }

        plan.IsReady = true;

        nint Layout(int inner, int outer, int operand) => _library.CreateLayout(factors, inner, outer, product.Strides[operand], what);
    }

    private void Forget(int number)
    {
        Plan plan = _plans[number];
        _plans[number] = default;
        _library.DestroyDescription(plan.Description);
        foreach (nint layout in (ReadOnlySpan<nint>)[plan.A, plan.B, plan.C, plan.D])
        {
            _library.DestroyLayout(layout);
        }
    }

    private struct Plan
    {
        public nint Description;
        public nint A;
        public nint B;
        public nint C;
        public nint D;
        public CublasLtLibrary.Recommended Best;
        public bool IsReady;
    }
}
