namespace ModelGen;

/// <summary>A CUDA driver, or a library that runs on it, refused or failed what was asked of it, or there is none that fits.</summary>
public sealed class CudaException : Exception
{
    internal CudaException(string message)
        : base(message)
    {
    }

    internal CudaException(int code, string name, string message)
        : base(message)
        => (ErrorCode, ErrorName) = (code, name);

    /// <summary>The driver's number of the error, <c>CUresult</c>, or the library's, such as <c>cublasStatus_t</c>; 0 where neither was asked.</summary>
    public int ErrorCode { get; }

    /// <summary>The driver's name of the error, such as <c>CUDA_ERROR_OUT_OF_MEMORY</c>, or the library's, such as <c>CUBLAS_STATUS_EXECUTION_FAILED</c>; empty where neither was asked.</summary>
    public string ErrorName { get; } = "";
}
